"""Batches for image classification, as NumPy arrays: one fresh MindSpore pipeline for each pass over the data.

A fresh pipeline with its own seed each epoch is what makes a resumed epoch continue bit for bit: MindSpore's random
state cannot be saved, so the pipeline is started again and the batches already seen are skipped.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from src.datasets.augmentation import Augmentation
from src.datasets.draws import Shown, shown_in
from src.datasets.geometry import Prepare, evaluation_preparation, training_preparation
from src.datasets.image_files import UnreadableError
from src.datasets.preprocessing import Preprocessing
from src.datasets.preprocessing_choices import DECODED
from src.datasets.random_erasing import erase
from src.datasets.sampler import (
    augmentation_seed,
    balanced_order,
    balancing_classes,
    epoch_order,
    evaluation_indices,
    training_indices,
)
from src.datasets.source import Source, log_noticed, picture_named
from src.datasets.stages import Stage, as_kept, evaluation_stage, training_stage
from src.utils.errors import ReportedError, UsageError
from src.utils.read_ahead import in_order

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]  # images (B, 3, S, S) float32, labels (B,) int32, indices (B,) int32

MAX_DEFAULT_WORKERS = 16


def worker_count(requested: int = 0) -> int:
    """Return how many threads to decode with: as many as this process may use, or the number asked for."""
    if requested == 0:
        return min(len(os.sched_getaffinity(0)), MAX_DEFAULT_WORKERS)
    if not 1 <= requested <= os.cpu_count():
        raise UsageError(
            f"num_parallel_workers is {requested}; this machine allows 1 to {os.cpu_count()}, and 0 for automatic"
        )
    return requested


@dataclass(frozen=True, kw_only=True)
class TrainingInput:
    """How a rank's training batches are made, in all epochs: which pictures are in them, and what is done to these.

    balanced: all classes are equally frequent. workers: threads that decode.
    """

    augmentation: Augmentation
    batch_size: int
    seed: int
    workers: int
    rank: int = 0
    world_size: int = 1
    balanced: bool = False


def stages_of_training(
    source: Source, preprocessing: Preprocessing, augmentation: Augmentation, sizes: Sequence[int] = ()
) -> list[Stage | None]:
    """What a cache can keep for `training_batches`, with each of `sizes`."""
    changes = augmentation.changes_of(source, preprocessing)
    return [
        training_stage(preprocessing.at(size), source.form, changes, augmentation.streams)
        for size in sizes or (preprocessing.image_size,)
    ]


def training_batches(
    source: Source,
    preprocessing: Preprocessing,
    how: TrainingInput,
    *,
    epoch: int,
    size: int = 0,
    first_image: int = 0,
    first_batch: int = 0,
) -> Iterator[Batch]:
    """Yield this rank's batches, all of batch_size, of what follows the `first_image` images of the epoch's order.

    The first `first_batch` batches are left out: the bits of batch t depend on all arguments but that one; also on
    `workers` and `rank`, unless each picture has a stream of its own (see `Augmentation`). size: of the images, 0: as
    `preprocessing` says, which is that of the end of training. What a cache keeps of the pictures changes no bit.
    """
    changes = how.augmentation.changes_of(source, preprocessing)
    shown = _shown(source.labels, how, epoch, first_image)
    if size:
        preprocessing = preprocessing.at(size)
    source = as_kept(source, training_stage(preprocessing, source.form, changes, how.augmentation.streams))
    if how.augmentation.streams == "image":
        from src.datasets.image_streams import Augmented, image_stream_batches

        augmented = Augmented(source, preprocessing, changes)
        batches = image_stream_batches(augmented, shown, how.batch_size, how.workers, first_batch)
    else:
        import mindspore.dataset as ds

        from src.datasets.operators import train_transforms

        seed = augmentation_seed(how.seed, epoch, how.rank, first_image)
        transforms = train_transforms(preprocessing, source.form, changes)
        prepare = training_preparation(preprocessing, source.form, changes, seed)
        ds.config.set_seed(seed)
        batches = _batches(source, shown.images, prepare, transforms, how.batch_size, how.workers, first_batch)
    if not how.augmentation.random_erasing:
        yield from batches
        return
    for number, (images, *others) in enumerate(batches, first_batch):
        of_batch = shown[number * how.batch_size :][: how.batch_size]
        yield erase(images, of_batch, how.augmentation.random_erasing), *others


def _shown(labels: np.ndarray, how: TrainingInput, epoch: int, first_image: int) -> Shown:
    """What this rank sees of the epoch's order, after its `first_image` images."""
    if how.balanced:
        order = balanced_order(balancing_classes(labels), how.seed, epoch)
    else:
        order = epoch_order(len(labels), how.seed, epoch)
    rest = np.arange(first_image, len(order))
    return shown_in(order, how.seed, epoch)[training_indices(rest, how.batch_size, how.rank, how.world_size)]


def evaluation_batches(
    source: Source,
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    workers: int,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[Batch]:
    """Yield this rank's images in order, each once; the last batch is as short as it has to be."""
    from src.datasets.operators import eval_transforms

    indices = evaluation_indices(len(source), rank, world_size)
    source = as_kept(source, evaluation_stage(preprocessing, source.form))
    prepare = evaluation_preparation(preprocessing, source.form)
    transforms = eval_transforms(preprocessing, source.form)
    yield from _batches(source, indices, prepare, transforms, batch_size, workers)


def usable_indices(source: Source, workers: int) -> tuple[np.ndarray, list[str]]:
    """Read every image once. Return the indices of the usable ones, int64, and one sentence for each of the others.

    For `on_bad_image=skip`: done before training, so that order, sharding and step count stay exact. About 1 ms each.
    Raises ReportedError for a file that cannot be read now: it may be sound, and another rank may have read it.
    """
    if not source.encoded:
        return np.arange(len(source)), []

    def problem(i: int) -> str | None:
        try:
            source.read(i)
        except UnreadableError as error:
            raise ReportedError(f"{error}; on_bad_image skip leaves out only pictures that were read") from error
        except ReportedError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(workers) as pool:
        problems = list(pool.map(problem, range(len(source))))
    log_noticed(source)
    good = np.array([i for i, sentence in enumerate(problems) if sentence is None], np.int64)
    return good, [sentence for sentence in problems if sentence is not None]


class _Rows:
    """The chosen images one after another; files are read ahead by threads, as a network drive needs it."""

    def __init__(
        self, source: Source, indices: np.ndarray, prepare: Prepare | None, pool: ThreadPoolExecutor, ahead: int
    ) -> None:
        self._source = source
        self._prepare = prepare
        self._indices = indices.tolist()
        self._pool = pool
        self._ahead = ahead
        self.error: ReportedError | None = None  # MindSpore passes on no exception object, only text

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.int32, np.int32]]:
        try:
            if self._source.form != DECODED or self._prepare:
                yield from self._read_ahead()
            else:
                yield from map(self._source.__getitem__, self._indices)
        except ReportedError as error:
            self.error = error
            raise

    def _read_ahead(self) -> Iterator[tuple[np.ndarray, np.int32, np.int32]]:
        calls = (partial(self._load, place, i) for place, i in enumerate(self._indices))
        return in_order(calls, self._pool, self._ahead)

    def _load(self, place: int, i: int) -> tuple[np.ndarray, np.int32, np.int32]:
        data, *rest = self._source[i]
        if self._prepare is None:
            return data, *rest
        with picture_named(self._source, i):
            return self._prepare(data, place), *rest


def _batches(
    source: Source,
    indices: np.ndarray,
    prepare: Prepare | None,
    transforms: list,
    batch_size: int,
    workers: int,
    first_batch: int = 0,
) -> Iterator[Batch]:
    """Yield the images of `indices` in their order. Raises the ReportedError of the first one that cannot be read."""
    import mindspore.dataset as ds  # 2 s, which those that use the rest of this file need not wait

    if first_batch * batch_size >= len(indices):
        return
    with ThreadPoolExecutor(workers, "image reader") as pool:
        rows = _Rows(source, indices, prepare, pool, ahead=4 * workers)
        # python_multiprocessing: a worker process that dies takes the main process with it.
        pipeline = ds.GeneratorDataset(
            rows, ["image", "label", "index"], shuffle=False, num_parallel_workers=1, python_multiprocessing=False
        )
        pipeline = pipeline.map(transforms, "image", num_parallel_workers=workers)
        pipeline = pipeline.batch(batch_size, num_parallel_workers=1).skip(first_batch)
        iterator = pipeline.create_tuple_iterator(num_epochs=1, output_numpy=True)
        try:
            yield from map(tuple, iterator)
        except RuntimeError as error:
            if rows.error is None:
                raise
            raise rows.error from error
        finally:
            iterator.stop()
            pool.shutdown(cancel_futures=True)
            log_noticed(source)
