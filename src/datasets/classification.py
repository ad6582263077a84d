"""Batches for image classification, as NumPy arrays: one fresh MindSpore pipeline for each pass over the data.

A fresh pipeline with its own seed each epoch is what makes a resumed epoch continue bit for bit: MindSpore's random
state cannot be saved, so the pipeline is started again and the batches already seen are skipped.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from types import MappingProxyType

import numpy as np

from src.datasets.draws import shown_in
from src.datasets.geometry import Prepare, evaluation_preparation, training_preparation
from src.datasets.image_files import UnreadableError
from src.datasets.picture_cache import PictureCache
from src.datasets.preprocessing import SMALL, Preprocessing, eval_transforms, train_transforms
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
from src.datasets.stages import Stage, evaluation_stage, training_stage
from src.utils.errors import ReportedError, UsageError
from src.utils.read_ahead import in_order

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]  # images (B, 3, S, S) float32, labels (B,) int32, indices (B,) int32

MAX_DEFAULT_WORKERS = 16
NOT_CACHED: Mapping[Stage, PictureCache] = MappingProxyType({})


def worker_count(requested: int = 0) -> int:
    """Return how many threads to decode with: as many as this process may use, or the number asked for."""
    if requested == 0:
        return min(len(os.sched_getaffinity(0)), MAX_DEFAULT_WORKERS)
    if not 1 <= requested <= os.cpu_count():
        raise UsageError(
            f"num_parallel_workers is {requested}; this machine allows 1 to {os.cpu_count()}, and 0 for automatic"
        )
    return requested


def usual_augmentation(source: Source, preprocessing: Preprocessing, auto_augment: str = "none") -> str:
    """What --augmentation auto means: 'full', but 'crop' for digits, as a mirrored 2 is no 2, and 'shift' for small
    inputs from files, of which random areas from 0.08 leave too little, and where a policy changes colours.
    """
    if source.dataset == "digits":
        return "crop"
    if auto_augment != "none":
        return "shift"
    # Runs of before, whose pixels are as stored, go on as they began.
    shifts = source.encoded and preprocessing.image_size <= SMALL and preprocessing.pixels == "shown"
    return "shift" if shifts else "full"


def stages_of_training(
    source: Source,
    preprocessing: Preprocessing,
    *,
    augmentation: str,
    auto_augment: str,
    streams: str,
    sizes: Sequence[int] = (),
) -> list[Stage | None]:
    """What a cache can keep for `training_batches` of these arguments, with each of `sizes`."""
    if augmentation == "auto":
        augmentation = usual_augmentation(source, preprocessing, auto_augment)
    final_size = preprocessing.image_size
    return [
        training_stage(preprocessing.at(size), source.encoded, augmentation, streams, final_size)
        for size in sizes or (final_size,)
    ]


def training_batches(
    source: Source,
    preprocessing: Preprocessing,
    *,
    augmentation: str,
    batch_size: int,
    seed: int,
    epoch: int,
    workers: int,
    rank: int = 0,
    world_size: int = 1,
    first_image: int = 0,
    first_batch: int = 0,
    balanced: bool = False,
    auto_augment: str = "none",
    random_erasing: float = 0.0,
    streams: str = "worker",
    size: int = 0,
    cached: Mapping[Stage, PictureCache] = NOT_CACHED,
) -> Iterator[Batch]:
    """Yield this rank's batches, all of batch_size, of what follows the `first_image` images of the epoch's order.

    The first `first_batch` batches are left out: the bits of batch t depend on all arguments but that one; also on
    `workers` and `rank`, as each worker has its own random stream; with streams 'image' each picture has one, by
    seed, epoch and picture alone (see `image_streams.py`). balanced: all classes are equally frequent.
    augmentation 'auto': see `usual_augmentation`. auto_augment: see `auto_augment_operators`. random_erasing: the
    probability that a rectangle of a picture is erased, see `erase`. size: of the images, 0: as `preprocessing` says,
    which is that of the end of training and decides what is usual for small ones. cached: the pictures as far as they
    are the same in each epoch, see `training_stage`; they change no bit.
    """
    if augmentation == "auto":
        augmentation = usual_augmentation(source, preprocessing, auto_augment)
    if balanced:
        order = balanced_order(balancing_classes(source.labels), seed, epoch)
    else:
        order = epoch_order(len(source), seed, epoch)
    shown = shown_in(order, seed, epoch)[
        training_indices(np.arange(first_image, len(order)), batch_size, rank, world_size)
    ]
    final_size = preprocessing.image_size
    preprocessing = preprocessing.at(size or final_size)
    stage = training_stage(preprocessing, source.encoded, augmentation, streams, final_size)
    source, kept = _from_cache(source, cached.get(stage))
    how = {"augmentation": augmentation, "auto_augment": auto_augment, "final_size": final_size, "kept": kept}
    if streams == "image":
        from src.datasets.image_streams import Augmented, image_stream_batches

        augmented = Augmented(source, preprocessing, **how)
        batches = image_stream_batches(augmented, shown, batch_size, workers, first_batch)
    else:
        import mindspore.dataset as ds

        own_seed = augmentation_seed(seed, epoch, rank, first_image)
        transforms = train_transforms(preprocessing, source.encoded, **how)
        prepare = training_preparation(preprocessing, source.encoded, augmentation, own_seed, final_size, kept)
        ds.config.set_seed(own_seed)
        batches = _batches(source, shown.images, prepare, transforms, batch_size, workers, first_batch)
    if not random_erasing:
        yield from batches
        return
    for number, (images, *others) in enumerate(batches, first_batch):
        of_batch = shown[number * batch_size :][:batch_size]
        yield erase(images, of_batch, random_erasing), *others


def evaluation_batches(
    source: Source,
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    workers: int,
    rank: int = 0,
    world_size: int = 1,
    cached: Mapping[Stage, PictureCache] = NOT_CACHED,
) -> Iterator[Batch]:
    """Yield this rank's images in order, each once; the last batch is as short as it has to be. cached: as above."""
    indices = evaluation_indices(len(source), rank, world_size)
    source, kept = _from_cache(source, cached.get(evaluation_stage(preprocessing, source.encoded)))
    prepare = evaluation_preparation(preprocessing, source.encoded, kept)
    transforms = eval_transforms(preprocessing, source.encoded, kept)
    yield from _batches(source, indices, prepare, transforms, batch_size, workers)


def _from_cache(source: Source, cache: PictureCache | None) -> tuple[Source, str]:
    """The source whose pictures are as `cache` keeps them, and how that is."""
    return (source, "") if cache is None else (replace(source, read=cache.record), cache.stage.kind)


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
            if self._source.encoded or self._prepare:
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
