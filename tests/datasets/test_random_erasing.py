"""Random erasing against its definition, and in the pipeline."""

import numpy as np
import pytest
from augmented import augmented_batches

from src.datasets.draws import shown_in
from src.datasets.preprocessing import default_preprocessing
from src.datasets.random_erasing import erase, erased_areas
from src.datasets.sources import open_source

DIGITS = open_source("digits", "", split="train").subset(np.arange(64))
SMALL = default_preprocessing("digits")


def areas_of(count: int, size: int, probability: float) -> np.ndarray:
    uniforms = shown_in(np.arange(count), 1, 0).uniforms("random_erasing", 41)
    return erased_areas(size, probability, uniforms)


def test_areas_shapes_and_places_are_those_of_the_paper():
    areas = areas_of(20_000, 224, 0.25)
    done = areas[areas[:, 2] > 0]
    assert abs(len(done) / len(areas) - 0.25) < 0.01
    top, left, height, width = done.T
    share, ratio = height * width / 224**2, height / width
    assert 0.019 < share.min() < 0.03
    assert 0.31 < share.max() < 0.335
    assert abs(share.mean() - (0.02 + 0.33) / 2) < 0.01
    assert 0.29 < ratio.min() < 0.32
    assert 3.1 < ratio.max() < 3.4
    assert abs(np.log(ratio).mean()) < 0.05
    assert top.min() == left.min() == 0
    assert (top + height).max() == (left + width).max() == 224


@pytest.mark.parametrize("size", [1, 2, 8, 32])
def test_rectangles_lie_inside_inputs_of_any_size(size):
    top, left, height, width = areas_of(500, size, 1.0).T
    assert (top + height <= size).all()
    assert (left + width <= size).all()
    assert (height > 0).all() == (size > 1)


@pytest.mark.parametrize("writeable", [True, False])
def test_erased_is_one_rectangle_of_zeros_in_all_channels_and_nothing_else(writeable):
    images = np.random.default_rng(0).standard_normal((6, 3, 32, 32), np.float32)
    before, shown = images.copy(), shown_in(np.arange(6), 5, 2)
    images.flags.writeable = writeable
    found = erase(images, shown, 1.0)
    areas = erased_areas(32, 1.0, shown.uniforms("random_erasing", 41))
    for image, original, (top, left, height, width) in zip(found, before, areas, strict=True):
        original[:, top : top + height, left : left + width] = 0
        np.testing.assert_array_equal(image, original)


def batches(**options) -> list:
    options = {"workers": 1, "batch_size": 8, "seed": 1, "epoch": 3, "augmentation": "none"} | options
    return list(augmented_batches(DIGITS, SMALL, **options))


def test_the_pipeline_erases_the_same_of_a_picture_on_any_rank_and_after_any_pause():
    plain = {i: image for images, _, indices in batches() for i, image in zip(indices, images, strict=True)}
    whole = batches(random_erasing=0.5)
    erased = {i: image for images, _, indices in whole for i, image in zip(indices, images, strict=True)}
    changed = [i for i in plain if (plain[i] != erased[i]).any()]
    assert 20 < len(changed) < 44
    assert all((erased[i][erased[i] != plain[i]] == 0).all() for i in changed)
    for options in ({"workers": 2}, {"first_batch": 3}, {"batch_size": 4, "rank": 1, "world_size": 2}):
        for images, _, indices in batches(random_erasing=0.5, **options):
            np.testing.assert_array_equal(images, [erased[i] for i in indices])
    again = batches(random_erasing=0.5, epoch=4)
    assert any((image != erased[i]).any() for images, _, ids in again for i, image in zip(ids, images, strict=True))


def test_a_picture_that_balanced_sampling_repeats_is_erased_elsewhere_each_time():
    few = DIGITS.subset(np.concatenate([np.flatnonzero(DIGITS.labels == 0)[:1], np.flatnonzero(DIGITS.labels == 1)]))
    options = {"workers": 1, "batch_size": len(few), "seed": 1, "epoch": 0, "augmentation": "none", "balanced": True}
    ((images, labels, _),) = augmented_batches(few, SMALL, random_erasing=1.0, **options)
    repeated = images[labels == 0]
    assert len(repeated) >= 3
    assert len({image.tobytes() for image in repeated}) == len(repeated)
