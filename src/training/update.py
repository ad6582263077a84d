"""One update of the weights: the micro-batches of a step, one after the other."""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence

import mindspore as ms
import numpy as np
from mindspore import Tensor

from src.datasets.mixing import Mix
from src.training.step import TrainStep
from src.utils.errors import ReportedError

Batch = tuple[np.ndarray, np.ndarray, np.ndarray] | tuple[np.ndarray, np.ndarray, np.ndarray, Mix]


class NextStep:
    """The batches of the next step, all at hand before it is begun: no step is begun in vain, as a part of one would
    leave its mark on the running statistics, which are saved.

    error: what the last ones could not be read for.
    """

    def __init__(self, batches_per_step: int) -> None:
        self._batches_per_step = batches_per_step
        self._batches: list[Batch] = []
        self._waited = 0.0
        self.error: ReportedError | None = None

    def fetch(self, batches: Iterator[Batch]) -> None:
        """Take them from `batches`."""
        start = time.perf_counter()
        try:
            self._batches = [next(batches) for _ in range(self._batches_per_step)]
        except ReportedError as error:
            self.error = error
        self._waited = time.perf_counter() - start

    def take(self) -> tuple[list[Batch], float]:
        """Give them away, and the seconds that they were waited for."""
        batches, self._batches = self._batches, []
        return batches, self._waited


def update(
    train_step: TrainStep, batches: Sequence[Batch], rate: float, beat: Callable[[], None] = lambda: None
) -> tuple[float, bool, float]:
    """Train on this rank's `batches` of one step, as many as it accumulates, with the learning rate `rate`.

    Returns the mean loss; whether the weights were updated: not after an overflow; and the share of images that were
    answered right (see `TrainStep`). beat () is called before each batch.
    """
    losses, rights, finite = [], [], None
    for i, batch in enumerate(batches):
        beat()
        loss, finite, right = train_step(*arguments(batch, rate, is_last=i + 1 == len(batches)))
        losses.append(float(loss.asnumpy()))
        rights.append(float(right.asnumpy()))
    return sum(losses) / len(losses), bool(finite.asnumpy()), sum(rights) / len(rights)


def arguments(batch: Batch, rate: float, *, is_last: bool) -> tuple[Tensor, ...]:
    """What `TrainStep` takes for a batch."""
    images, labels, _, *mixes = batch
    mix = (Tensor(value) for one in mixes for value in one)
    return Tensor(images), Tensor(labels), Tensor(rate, ms.float32), Tensor(is_last, ms.bool_), *mix


def endless_steps(
    train_batches: Callable[..., Iterator[Batch]], batches_per_step: int, epoch: int = 0
) -> Iterator[list[Batch]]:
    """The batches of a step, step after step, from those of `epoch` on; the rest of an epoch begins no step."""
    for number in itertools.count(epoch):
        batches = iter(train_batches(epoch=number))
        while len(step := list(itertools.islice(batches, batches_per_step))) == batches_per_step:
            yield step
