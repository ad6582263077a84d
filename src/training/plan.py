"""The numbers of a training run, from which its steps are counted."""

from dataclasses import dataclass

from src.datasets.sampler import steps_per_epoch
from src.training.progress import Progress


@dataclass(frozen=True)
class Plan:
    """The numbers of a run. A step is one update of the weights: `accumulation_steps` batches on each rank.

    sync_bn_stats: see `src.training.trainer.Trainer`.
    """

    max_epoch: int
    num_images: int
    batch_size: int
    world_size: int = 1
    accumulation_steps: int = 1
    log_interval: int = 100
    eval_interval: int = 1
    ckpt_interval: int = 0
    sync_bn_stats: bool = False

    @property
    def images_per_batch(self) -> int:
        """Of all ranks together."""
        return self.batch_size * self.world_size

    @property
    def images_per_step(self) -> int:
        """Of all ranks together."""
        return self.images_per_batch * self.accumulation_steps

    @property
    def steps_per_epoch(self) -> int:
        """As many as num_images allow. Raises ReportedError if there is not a single one."""
        return steps_per_epoch(self.num_images, self.batch_size * self.accumulation_steps, self.world_size)

    def steps_done(self, progress: Progress) -> int:
        """Steps from the start of training to `progress`, which older checkpoints do not say: then with this plan's
        batches, where one that was begun with another counts not.
        """
        if progress.steps >= 0:
            return progress.steps
        return progress.epoch * self.steps_per_epoch + progress.images // self.images_per_step
