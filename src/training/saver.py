"""Writing a run's checkpoints: the newest few, and the best."""

from pathlib import Path

import mindspore as ms
import numpy as np

from src.training.progress import Progress
from src.training.step import TrainStep
from src.utils.checkpoint import BEST_NAME, EMA, save_checkpoint
from src.utils.checkpoint_names import checkpoint_name, list_checkpoints
from src.utils.errors import ReportedError
from src.utils.logging import get_logger

ADVICE = "lower --lr, lengthen --warmup_epochs or set --grad_clip_norm"


class Saver:
    """Writes this rank's checkpoints into `folder` and keeps the newest `keep` of them, plus the best."""

    def __init__(
        self, folder: Path, train_step: TrainStep, metadata: dict, *, rank: int, keep: int, active: bool
    ) -> None:
        self.folder, self.train_step, self.metadata = folder, train_step, metadata
        self.rank, self.keep, self.active = rank, keep, active

    def save(self, progress: Progress, step: int, epoch: int | None = None) -> None:
        """Write `RANK-EPOCH_STEP.ckpt`; epoch: from 1, None for the one in training.

        Raises ReportedError when a weight is not finite or the disk refuses.
        """
        self._write(checkpoint_name(self.rank, progress.epoch + 1 if epoch is None else epoch, step), progress)
        for path in list_checkpoints(self.folder, self.rank)[self.keep :] if self.active else ():
            try:
                path.unlink(missing_ok=True)
            except OSError as error:  # the new one is there: training need not end
                get_logger().warning("%s cannot be removed: %s", path, error.strerror)

    def save_best(self, progress: Progress, weights: str) -> None:
        """Write `best.ckpt` with the same content; `weights` (raw or ema) are what is the best in it."""
        self._write(BEST_NAME, progress, weights)

    def newest(self) -> str:
        """The name of the newest checkpoint, for messages."""
        found = list_checkpoints(self.folder, self.rank)
        return str(found[0]) if found else "none yet"

    @property
    def has_saved(self) -> bool:
        """Whether this rank has a checkpoint in the folder."""
        return bool(list_checkpoints(self.folder, self.rank))

    def _write(self, name: str, progress: Progress, weights: str = EMA) -> None:
        if not self.active:
            return
        parameters = self.train_step.saved_parameters()
        for parameter in parameters:
            if parameter.dtype == ms.float32 and not np.isfinite(parameter.asnumpy()).all():
                raise ReportedError(
                    f"{parameter.name} is not finite any more, so no checkpoint is written; the last good one is "
                    f"{self.newest()}; {ADVICE}"
                )
        said = {} if self.train_step.average is None else {"weights": weights}
        save_checkpoint(self.folder / name, parameters, {**self.metadata, **said, "progress": progress.to_dict()})
