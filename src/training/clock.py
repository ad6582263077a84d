"""Time spent training, how much of it is left, and the bar that shows it."""

import sys
from dataclasses import dataclass

from tqdm import tqdm

from src.training.plan import Plan


@dataclass
class Clock:
    """Time spent training, of that waiting for data, and the images done in it."""

    seconds: float = 0.0
    waited: float = 0.0
    images: int = 0

    def add(self, seconds: float, waited: float, images: int) -> None:
        """Take one more step in."""
        self.seconds += seconds
        self.waited += waited
        self.images += images

    @property
    def images_per_second(self) -> float:
        """0 before the first step."""
        return self.images / self.seconds if self.seconds else 0.0

    @property
    def wait_percent(self) -> float:
        """Share of the time spent waiting for data."""
        return 100 * self.waited / self.seconds if self.seconds else 0.0


def time_left(plan: Plan, clock: Clock, steps: int, seconds_of_evaluation: float) -> str:
    """How long a run goes on after `steps` steps of it, as `1:02:03`; `?` before any was measured by `clock`.

    seconds_of_evaluation: of the last one; 0 leaves them out.
    """
    if not clock.images_per_second:
        return "?"
    seconds = (plan.max_epoch * plan.steps_per_epoch - steps) * plan.images_per_step / clock.images_per_second
    done = steps // plan.steps_per_epoch
    ahead = -(-plan.max_epoch // plan.eval_interval) - done // plan.eval_interval
    return tqdm.format_interval(max(0.0, seconds + ahead * seconds_of_evaluation))


def epoch_bar(epoch: int, epochs: int, first: int, end: int, *, shown: bool) -> tqdm:
    """A bar of the steps of `epoch`, from 0, which begins at step `first`; on terminals, if `shown`."""
    return tqdm(
        total=end,
        initial=first,
        desc=f"epoch {epoch + 1}/{epochs}",
        unit="step",
        leave=False,
        disable=not (shown and sys.stderr.isatty()),
    )
