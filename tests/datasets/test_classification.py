"""The pipelines: exact counts, repeatable and resumable augmentation, ranks, broken images, no leaks."""

import errno
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from augmented import augmented_batches

from src.datasets import image_files
from src.datasets.classification import evaluation_batches, usable_indices, worker_count
from src.datasets.operators import eval_transforms
from src.datasets.preprocessing import default_preprocessing
from src.datasets.sampler import epoch_order
from src.datasets.sources import open_source
from src.utils.byte_arrays import read_array
from src.utils.errors import ReportedError, UsageError

DIGITS = open_source("digits", "", split="train").subset(np.arange(50))
SMALL = default_preprocessing("cifar10")
WORKERS = min(2, os.cpu_count())


def train(source, preprocessing, *, epoch=0, seed=1, batch_size=4, augmentation="full", **options):
    options = {"workers": WORKERS, **options}
    return list(
        augmented_batches(
            source, preprocessing, augmentation=augmentation, batch_size=batch_size, seed=seed, epoch=epoch, **options
        )
    )


def assert_same(batches, expected):
    assert len(batches) == len(expected) > 0
    for batch, other in zip(batches, expected, strict=True):
        for array, other_array in zip(batch, other, strict=True):
            np.testing.assert_array_equal(array, other_array)


@pytest.fixture(params=["pixels", "files"])
def data(request, photo_folder):
    """Small pictures in memory, and photographs in files, each with its preprocessing."""
    if request.param == "pixels":
        return DIGITS, SMALL
    return open_source("folder", photo_folder, split="train"), default_preprocessing("folder", 32)


def test_a_training_epoch_follows_the_order_in_whole_batches(data):
    source, preprocessing = data
    batches = train(source, preprocessing, batch_size=3)
    assert len(batches) == len(source) // 3
    for images, labels, indices in batches:
        assert (images.shape, images.dtype) == ((3, 3, 32, 32), np.float32)
        assert (labels.shape, labels.dtype, indices.dtype) == ((3,), np.int32, np.int32)
        np.testing.assert_array_equal(labels, source.labels[indices])
    order = epoch_order(len(source), 1, 0)
    np.testing.assert_array_equal(np.concatenate([batch[2] for batch in batches]), order[: 3 * len(batches)])


def test_the_same_epoch_again_is_bit_equal_and_others_differ(data):
    source, preprocessing = data
    first = train(source, preprocessing)
    assert_same(train(source, preprocessing), first)
    for change in ({"epoch": 1}, {"seed": 2}):
        assert not np.array_equal(train(source, preprocessing, **change)[0][0], first[0][0])


def test_augmentation_differs_between_epochs_for_one_and_the_same_image(data):
    source, preprocessing = data
    one = source.subset(np.zeros(8, np.int64))
    seen = {
        image.tobytes() for epoch in range(3) for image in train(one, preprocessing, epoch=epoch, batch_size=8)[0][0]
    }
    assert len(seen) == 24


@pytest.mark.parametrize("first_batch", [1, 2])
@pytest.mark.parametrize("workers", range(1, WORKERS + 1))
def test_a_resumed_epoch_is_the_tail_of_the_uninterrupted_one_bit_for_bit(data, first_batch, workers):
    source, preprocessing = data
    options = {"batch_size": 3, "workers": workers}
    whole = train(source, preprocessing, epoch=5, **options)
    train(source, preprocessing, epoch=4, **options)  # whatever ran before leaves no trace
    assert_same(train(source, preprocessing, epoch=5, first_batch=first_batch, **options), whole[first_batch:])


def test_evaluation_during_an_epoch_does_not_disturb_it(data):
    source, preprocessing = data
    expected = train(source, preprocessing)
    interrupted = []
    for batch in augmented_batches(
        source, preprocessing, augmentation="full", batch_size=4, seed=1, epoch=0, workers=WORKERS
    ):
        interrupted.append(batch)
        list(evaluation_batches(source, preprocessing, batch_size=4, workers=WORKERS))
    assert_same(interrupted, expected)


def test_an_epoch_resumed_after_its_last_batch_is_empty():
    assert train(DIGITS, SMALL, batch_size=10, first_batch=5) == []


def test_ranks_see_the_images_of_one_process_with_a_larger_batch_and_augment_on_their_own():
    one_process = train(DIGITS, SMALL, batch_size=8)
    ranks = [train(DIGITS, SMALL, batch_size=4, rank=rank, world_size=2) for rank in range(2)]
    for step, batch in enumerate(one_process):
        np.testing.assert_array_equal(batch[2], np.concatenate([rank[step][2] for rank in ranks]))
    one_image = DIGITS.subset(np.zeros(8, np.int64))
    first, second = (train(one_image, SMALL, rank=rank, world_size=2)[0][0] for rank in range(2))
    assert not np.array_equal(first, second)


def test_auto_augmentation_only_shifts_digits():
    assert_same(train(DIGITS, SMALL, augmentation="auto"), train(DIGITS, SMALL, augmentation="crop"))


def test_shift_moves_and_mirrors_and_leaves_colours_alone():
    """A picture dark on the left and bright on the right: sides are changed, but there are still only two values."""
    halves = np.zeros((32, 32, 3), np.uint8)
    halves[:, 16:] = 200
    source = replace(DIGITS.subset(np.zeros(32, np.int64)), read=lambda _: halves)
    values, mirrored = {}, {}
    for how in ("crop", "shift", "full"):
        (images, *_), *_ = train(source, SMALL, augmentation=how, batch_size=32)
        values[how] = len(np.unique(images.round(3)[:, 0]))
        mirrored[how] = int((images[:, 0, 16, 10] > images[:, 0, 16, 22]).sum())
    assert values["crop"] == values["shift"] == 2 < values["full"]
    assert mirrored["crop"] == 0 < mirrored["shift"] < 32


def test_auto_augmentation_is_full_for_everything_else(cifar_folder):
    source = open_source("cifar10", cifar_folder, split="train")
    assert_same(train(source, SMALL, augmentation="auto"), train(source, SMALL, augmentation="full"))


@pytest.mark.parametrize("batch_size", [1, 3, 7, 11, 64])
def test_evaluation_yields_every_image_once_in_order(data, batch_size):
    source, preprocessing = data
    batches = list(evaluation_batches(source, preprocessing, batch_size=batch_size, workers=WORKERS))
    sizes = [len(batch[1]) for batch in batches]
    assert sizes == [batch_size] * (len(source) // batch_size) + (
        [len(source) % batch_size] if len(source) % batch_size else []
    )
    np.testing.assert_array_equal(np.concatenate([batch[2] for batch in batches]), np.arange(len(source)))
    np.testing.assert_array_equal(np.concatenate([batch[1] for batch in batches]), source.labels)
    image = source.read(len(source) - 1)
    for transform in eval_transforms(preprocessing, source.form):
        image = transform(image)
    np.testing.assert_array_equal(batches[-1][0][-1], image)


@pytest.mark.parametrize("world_size", [2, 4, 60])
def test_evaluation_on_all_ranks_counts_each_image_once(world_size):
    seen = [
        batch[2]
        for rank in range(world_size)
        for batch in evaluation_batches(DIGITS, SMALL, batch_size=8, workers=1, rank=rank, world_size=world_size)
    ]
    np.testing.assert_array_equal(np.sort(np.concatenate(seen)), np.arange(50))


@pytest.fixture
def broken_folder(photo_folder, tmp_path):
    """A copy of the photographs with one JPEG cut off, one overwritten with text and one removed after opening."""
    import shutil

    root = tmp_path / "broken photos"
    shutil.copytree(photo_folder, root)
    cut = root / "flower" / "flower 2.jpg"
    cut.write_bytes(cut.read_bytes()[:2000])
    (root / "temple 塔" / "temple 塔 0.png").write_text("this is no picture")
    return root


def test_a_broken_image_stops_training_and_evaluation_and_is_named(broken_folder):
    source = open_source("folder", broken_folder, split="train")
    preprocessing = default_preprocessing("folder", 32)
    with pytest.raises(ReportedError, match=r"flower 2\.jpg should be a complete JPEG.* found 2000 bytes that cannot"):
        list(evaluation_batches(source, preprocessing, batch_size=4, workers=WORKERS))
    with pytest.raises(ReportedError, match=r"flower 2\.jpg|temple 塔 0\.png"):
        train(source, preprocessing, batch_size=11)


def test_broken_images_can_be_found_listed_and_left_out(broken_folder):
    source = open_source("folder", broken_folder, split="train")
    (broken_folder / "flower" / "flower 5.jpg").unlink()
    good, problems = usable_indices(source, WORKERS)
    assert good.tolist() == [0, 1, 3, 4, 7, 8, 9, 10]
    assert len(problems) == 3
    for problem, text in zip(
        problems, ("flower 2.jpg should", "flower 5.jpg cannot be", "塔 0.png should"), strict=True
    ):
        assert text in problem
    usable = source.subset(good)
    preprocessing = default_preprocessing("folder", 32)
    assert sum(len(b[1]) for b in evaluation_batches(usable, preprocessing, batch_size=3, workers=WORKERS)) == 8
    assert len(train(usable, preprocessing)) == 2


def test_a_picture_that_cannot_be_read_now_is_not_left_out(broken_folder, monkeypatch):
    def read(path, most):
        if Path(path).name == "flower 5.jpg":
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return read_array(path, most)

    monkeypatch.setattr(image_files, "read_array", read)
    source = open_source("folder", broken_folder, split="train")
    with pytest.raises(
        ReportedError, match=r"flower 5\.jpg cannot be read: Input/output error; on_bad_image skip leaves"
    ):
        usable_indices(source, WORKERS)


def test_a_fingerprint_is_of_what_was_read_or_none(broken_folder, monkeypatch):
    def refused(_):
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr("src.datasets.identity.Path.read_bytes", refused)
    with pytest.raises(ReportedError, match=r"flower 0\.jpg cannot be read: Stale file handle"):
        open_source("folder", broken_folder, split="train").fingerprint()


def test_pictures_in_memory_are_all_usable():
    good, problems = usable_indices(DIGITS, WORKERS)
    assert (good.tolist(), problems) == (list(range(50)), [])


def test_worker_count_adapts_to_the_machine():
    assert worker_count() == min(len(os.sched_getaffinity(0)), 16)
    assert worker_count(1) == 1
    for wrong in (-1, os.cpu_count() + 1):
        with pytest.raises(UsageError, match=rf"num_parallel_workers is {wrong}; this machine allows 1 to"):
            worker_count(wrong)


@pytest.mark.slow
def test_three_hundred_epochs_leak_neither_threads_nor_memory(photo_folder):
    files = open_source("folder", photo_folder, split="train")
    process = psutil.Process()

    def settled_threads():
        """A thread that is told to end takes a moment: the least of half a second."""
        counts = []
        for _ in range(50):
            time.sleep(0.01)
            counts.append(process.num_threads())
        return min(counts)

    def one_epoch(epoch):
        train(DIGITS, SMALL, epoch=epoch)
        options = {"augmentation": "full", "batch_size": 4, "seed": 1, "epoch": epoch, "workers": WORKERS}
        next(augmented_batches(files, default_preprocessing("folder", 32), **options))  # left before its end

    for epoch in range(20):
        one_epoch(epoch)
    threads, memory = settled_threads(), process.memory_info().rss
    for epoch in range(20, 320):
        one_epoch(epoch)
    assert settled_threads() <= threads
    assert process.memory_info().rss - memory < 20e6


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_handlers_of_ours_stay_in_place_while_batches_are_made(number):
    received = []
    previous = signal.signal(number, lambda number, _: received.append(number))
    try:
        batches = 0
        for _ in augmented_batches(DIGITS, SMALL, augmentation="full", batch_size=4, seed=1, epoch=0, workers=WORKERS):
            if batches == 3:
                threading.Thread(target=os.kill, args=(os.getpid(), number)).start()
            batches += 1
        assert batches == 12
        assert received == [number]
    finally:
        signal.signal(number, previous)
