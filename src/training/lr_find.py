"""Which learning rate a network bears: the range test of Smith 2017 (arXiv:1506.01186, section 3.3)."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src.training.step import TrainStep
from src.training.update import Batch, endless_steps, update
from src.utils.csv_text import csv_text
from src.utils.errors import ReportedError
from src.utils.files import write_text_atomically
from src.utils.parameters import overwrite
from src.utils.plotting import write_picture

LOWEST, HIGHEST, RATES = 1e-6, 10.0, 100
_MEMORY = 0.9  # of the mean of losses, which a single batch's noise hides
_TOO_MUCH = 4.0  # times the lowest mean: beyond, it only diverges


@dataclass(frozen=True)
class RangeTest:
    """rates, losses: of each step, the loss before its update; smoothed: their running mean."""

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray

    @property
    def suggested(self) -> float:
        """Where the loss falls fastest over the logarithm of the rate, before its lowest point.

        Raises ReportedError when it never falls.
        """
        end = int(self.smoothed.argmin()) + 1
        slope = np.gradient(self.smoothed[:end], np.log(self.rates[:end])) if end > 2 else np.zeros(1)
        if slope.min() >= 0:
            raise ReportedError(
                f"the loss falls at no learning rate from {self.rates[0]:.2g} to {self.rates[-1]:.2g}, so none is "
                "suggested; look at lr_find.png and at the data"
            )
        return float(self.rates[slope.argmin()])


def find_learning_rate(
    train_step: TrainStep, train_batches: Callable[..., Iterator[Batch]], accumulation_steps: int = 1
) -> RangeTest:
    """Train with rates that grow from LOWEST to HIGHEST by the same factor each step, until the loss has grown to
    `_TOO_MUCH` times its lowest mean. All state of `train_step` is as before afterwards. Collective.

    Raises ReportedError when the loss is not finite from the first steps on.
    """
    train_step.set_train(True)  # building the evaluation has set the shared network to inference
    before = [(parameter, np.array(parameter.asnumpy())) for parameter in train_step.saved_parameters()]
    rates, losses, means = [], [], []
    mean = 0.0
    try:
        steps = endless_steps(train_batches, accumulation_steps)
        for rate in np.geomspace(LOWEST, HIGHEST, RATES):
            loss, *_ = update(train_step, next(steps), float(rate))
            if not math.isfinite(loss):
                break
            mean = _MEMORY * mean + (1 - _MEMORY) * loss
            rates.append(float(rate))
            losses.append(loss)
            means.append(mean / (1 - _MEMORY ** len(losses)))
            if means[-1] > _TOO_MUCH * min(means):
                break
    finally:
        for parameter, value in before:
            overwrite(parameter, value)
    if not losses:
        raise ReportedError("the loss of the first step is not finite; look at the data and at --amp_level")
    return RangeTest(np.array(rates), np.array(losses), np.array(means))


def report_range_test(found: RangeTest, folder: Path, *, scale: float = 1.0) -> str:
    """Write lr_find.csv and lr_find.png into `folder`, and return what to say about them.

    scale: how many times --lr the rates are, with linear_lr_scaling. Raises ReportedError when no rate is suggested.
    """
    rates = found.rates / scale
    rows = zip(rates.tolist(), found.losses.tolist(), found.smoothed.tolist(), strict=True)
    write_text_atomically(folder / "lr_find.csv", csv_text([["lr", "loss", "smoothed_loss"], *rows]))
    write_picture(folder / "lr_find.png", lambda path: _draw(found, rates, scale, path))
    lowest = rates[found.smoothed.argmin()]
    return (
        f"the loss falls fastest at --lr {found.suggested / scale:.2g} and is lowest at {lowest:.2g}, beyond which it "
        f"grows; a rate between a tenth of the second and the first is usual; {folder / 'lr_find.png'}"
    )


def _draw(found: RangeTest, rates: np.ndarray, scale: float, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(rates, found.losses, ".", markersize=3, color="0.6", label="loss of a step")
    axes.plot(rates, found.smoothed, color="C0", label="running mean")
    low, high = found.smoothed.min(), found.smoothed[0]
    axes.set(xscale="log", xlabel="--lr", ylabel="loss", title="learning rate range test")
    axes.set_ylim(max(low - 0.3 * (high - low), 0), high + 0.7 * (high - low) + 1e-6)
    try:
        suggested = found.suggested / scale
    except ReportedError:
        suggested = None
    if suggested:
        axes.axvline(suggested, color="C1", linestyle="--", label=f"falls fastest: {suggested:.2g}")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
