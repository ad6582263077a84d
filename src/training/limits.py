"""What ends a training before its last epoch, without an error: no progress for long, or no time left."""

import time
from dataclasses import dataclass, field

from src.training.progress import Progress

OUT_OF_TIME = 62  # beside the numbers of signals, which Group.any takes


@dataclass
class Limits:
    """patience: end when so many evaluations in a row were not the best; 0: never. max_hours: end after so many hours
    of training over all resumptions; 0: never. best_metric: what evaluations are compared by, for the message.

    Time is counted from `start` on, with compilation, evaluations and saving, on top of what the checkpoint says.
    """

    patience: int = 0
    max_hours: float = 0.0
    best_metric: str = "top1"
    _before: float = field(default=0.0, init=False)
    _started: float = field(default_factory=time.monotonic, init=False)

    def start(self, progress: Progress) -> None:
        """Count the time of a process that goes on from `progress`."""
        self._before, self._started = progress.seconds, time.monotonic()

    def seconds(self) -> float:
        """In training, over all resumptions."""
        return self._before + time.monotonic() - self._started

    def is_out_of_time(self) -> bool:
        """Whether max_hours have gone."""
        return 0 < 3600 * self.max_hours <= self.seconds()

    def has_no_patience(self, progress: Progress) -> bool:
        """Whether the evaluations have been no better for too long."""
        return 0 < self.patience <= progress.not_better

    def why_no_time(self, newest: str, folder: object) -> str:
        """The line for the log, and how to go on. newest: the checkpoint of the position reached."""
        return (
            f"max_hours {self.max_hours:g} has gone: {self.seconds() / 3600:.2f} hours of training; saved: {newest}; "
            f"to go on: --resume {folder} --max_hours {2 * self.max_hours:g}"
        )

    def why_no_patience(self, progress: Progress, folder: object) -> str:
        """The line for the log, and how to go on."""
        return (
            f"patience {self.patience} has gone: as many evaluations with no better {self.best_metric} since the best "
            f"one; to go on: --resume {folder} --patience {2 * progress.not_better}"
        )
