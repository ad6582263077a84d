"""Where a training run stands: everything besides the parameters that a resumed run needs to go on bit for bit."""

import math
from dataclasses import asdict, dataclass, field

from src.utils.errors import ReportedError

# The rows of `Progress.history`, which are those of metrics.csv.
COLUMNS = (
    "epoch",  # from 1
    "step",  # optimizer steps since the start of training
    "loss",  # mean training loss of the epoch
    "learning_rate",  # of the epoch's last step
    "images_per_second",  # all ranks, without compilation, evaluation and saving
    "data_wait_percent",  # share of that time spent waiting for the data pipeline
    "skipped_steps",  # updates skipped because a gradient overflowed, since the start
    "top1",  # of the evaluation, as fractions; empty where none was made
    "top5",
    "eval_loss",  # its mean cross entropy, without label smoothing
    "balanced_accuracy",  # mean recall over the classes
    "macro_f1",  # mean F1 over the classes
    "auroc",  # of several labels a picture: mean area under the ROC curve over the classes
    "average_precision",  # the same of the average precision
)
EMA_PREFIX = "ema_"  # of the same columns for the average of the weights
EMA_COLUMNS = tuple(EMA_PREFIX + name for name in COLUMNS[COLUMNS.index("top1") :])
COLUMNS += (*EMA_COLUMNS, "train_top1")  # the last: of the training images, as augmented (see `TrainStep`)
_LATER = dict.fromkeys(COLUMNS[COLUMNS.index("eval_loss") :], "")  # columns that rows of older checkpoints lack


def _is_cell(value: object) -> bool:
    """Whether a row of the history can hold it: what a float32 can be, NaN for the loss of an epoch without updates."""
    return value == "" if isinstance(value, str) else type(value) in (int, float) and not abs(value) > 1e39


def is_evaluated(row: dict) -> bool:
    """Whether an epoch's row says how good the network was after it."""
    return row["top1"] != "" or row["eval_loss"] != ""


@dataclass
class Mean:
    """A running mean."""

    total: float = 0.0
    count: int = 0

    def add(self, value: float) -> None:
        """Take one more value in."""
        self.total += value
        self.count += 1

    @property
    def value(self) -> float:
        """The mean so far; nan before the first value."""
        return self.total / self.count if self.count else float("nan")


@dataclass
class Progress:
    """The position, the running means and the results so far.

    epoch          the epoch in training, from 0
    images         images of it that all ranks together have trained on
    first_image    how many of these there were when the epoch's rest was last dealt out to the ranks: 0, or where a run
                   was resumed with another global batch, of which `images` was no multiple
    epoch_loss     mean loss of the epoch so far
    epoch_top1     mean share of its images that were answered right
    window_loss    mean loss since the last log line
    best_score     of the best evaluation so far (see `score_of`), -1 before the first
    history        one row an epoch that was trained to its end, the rows of metrics.csv
    steps          updates of the weights since the start of training; -1 in checkpoints that do not say
    evaluation_due  whether the epoch's end is still to be evaluated
    not_better     evaluations since the best one
    seconds        of training, evaluation and saving until this was saved, over all resumptions
    best_after     the last epoch whose evaluation was of other pictures than best_score's, 0 for none
    """

    epoch: int = 0
    images: int = 0
    first_image: int = 0
    epoch_loss: Mean = field(default_factory=Mean)
    window_loss: Mean = field(default_factory=Mean)
    best_score: float = -1.0
    history: list[dict] = field(default_factory=list)
    steps: int = -1
    evaluation_due: bool = False
    best_after: int = 0
    refresh_due: bool = False
    not_better: int = 0
    seconds: float = 0.0
    epoch_top1: Mean = field(default_factory=Mean)

    def to_dict(self) -> dict:
        """As JSON-able values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: object) -> "Progress":
        """The reverse of `to_dict`. Raises ReportedError when a checkpoint holds anything else."""
        try:
            if "best_top1" in values:  # as it was called while there was no other figure
                values = {"best_score": values["best_top1"], **{k: v for k, v in values.items() if k != "best_top1"}}
            progress = cls(**values)
            if isinstance(progress.history, list):
                progress.history = [{**_LATER, **row} for row in progress.history]
            progress.epoch_loss, progress.window_loss = Mean(**progress.epoch_loss), Mean(**progress.window_loss)
            if not isinstance(progress.epoch_top1, Mean):  # as it is where the checkpoint does not say
                progress.epoch_top1 = Mean(**progress.epoch_top1)
            integers = [progress.epoch, progress.images, progress.first_image, progress.best_after]
            means = (progress.epoch_loss, progress.window_loss, progress.epoch_top1)
            integers += [progress.not_better, *(mean.count for mean in means)]
            floats = [progress.seconds, progress.best_score, *(mean.total for mean in means)]
            valid = (
                all(type(number) is int and 0 <= number < 2**53 for number in integers)
                and progress.first_image <= progress.images
                and type(progress.steps) is int
                and progress.steps < 2**53
                and type(progress.evaluation_due) is type(progress.refresh_due) is bool
                and all(type(number) is float and math.isfinite(number) for number in floats)
                and isinstance(progress.history, list)
                and all(isinstance(row, dict) and set(row) == set(COLUMNS) for row in progress.history)
                and all(_is_cell(value) for row in progress.history for value in row.values())
                and all(type(row["epoch"]) is type(row["step"]) is int for row in progress.history)
            )
        except (TypeError, AttributeError):
            valid = False
        if not valid:
            raise ReportedError("the checkpoint's progress entry is not what train.py writes; resume from another one")
        return progress

    def batches_done(self, images_per_batch: int) -> int:
        """Global batches since `first_image`, which moves to the present position when they are no whole number."""
        if (self.images - self.first_image) % images_per_batch:
            self.first_image = self.images
        return (self.images - self.first_image) // images_per_batch

    def forget_best(self) -> None:
        """Count the best accuracy anew: the held-out pictures are others from now on."""
        self.best_score, self.not_better = -1.0, 0
        self.best_after = max((row["epoch"] for row in self.history if is_evaluated(row)), default=0)

    def begin_row(self, **figures: float | str) -> None:
        """Put the row of the epoch in training, still without its evaluation, into the history.

        The checkpoint at the epoch's end is saved with it: what is past is never computed again from a configuration
        that was changed for the epochs to come.
        """
        row = {
            **dict.fromkeys(COLUMNS, ""),
            "epoch": self.epoch + 1,
            "step": self.steps,
            "loss": self.epoch_loss.value,
            **figures,
            "train_top1": self.epoch_top1.value if self.epoch_top1.count else "",
        }
        self.history = [past for past in self.history if past["epoch"] < row["epoch"]] + [row]

    def next_epoch(self) -> None:
        """Go to the beginning of the next epoch."""
        self.epoch, self.images, self.first_image, self.epoch_loss = self.epoch + 1, 0, 0, Mean()
        self.epoch_top1 = Mean()
