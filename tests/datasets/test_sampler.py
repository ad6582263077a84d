"""Order and sharding, for any number of images and ranks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.datasets.sampler import (
    augmentation_seed,
    balanced_order,
    balancing_classes,
    epoch_order,
    evaluation_indices,
    steps_per_epoch,
    training_indices,
)
from src.utils.errors import ReportedError

numbers = st.integers(0, 2**31)


@given(n=st.integers(0, 500), seed=numbers, epoch=numbers)
def test_an_epoch_s_order_is_a_permutation_that_can_be_repeated(n, seed, epoch):
    order = epoch_order(n, seed, epoch)
    assert sorted(order) == list(range(n))
    np.testing.assert_array_equal(order, epoch_order(n, seed, epoch))


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = {epoch_order(50, seed, epoch).tobytes() for seed in range(20) for epoch in range(20)}
    assert len(orders) == 400


def test_the_order_is_the_same_in_every_version():
    assert epoch_order(10, 1, 0).tolist() == [8, 4, 7, 0, 1, 2, 5, 9, 6, 3]


@given(classes=st.lists(st.integers(0, 9), min_size=1, max_size=200), seed=numbers, epoch=numbers)
def test_a_balanced_epoch_is_as_long_and_shows_all_classes_equally(classes, seed, epoch):
    classes = np.array(classes)
    order = balanced_order(classes, seed, epoch)
    np.testing.assert_array_equal(order, balanced_order(classes, seed, epoch))
    assert len(order) == len(classes)
    shown = np.bincount(classes[order])[np.unique(classes)]
    assert shown.max() - shown.min() <= 1
    images = np.bincount(order, minlength=len(classes))
    for value in np.unique(classes):  # and within a class all images
        assert np.ptp(images[classes == value]) <= 1


def test_what_a_balanced_epoch_leaves_out_comes_in_another():
    classes = np.array([0] * 90 + [1] * 10)
    orders = [balanced_order(classes, 1, epoch) for epoch in range(10)]
    assert len(set(np.concatenate(orders).tolist())) == 100
    assert all((np.bincount(order, minlength=100)[90:] == 5).all() for order in orders)


def test_of_several_labels_the_rarest_counts():
    labels = np.array([[1, 1, 0], [1, 0, -1], [1, 0, 0], [0, 0, 0], [0, 1, 1]], np.int8)
    assert balancing_classes(labels).tolist() == [1, 0, 0, 3, 2]
    assert balancing_classes(np.array([2, 0], np.int32)).tolist() == [2, 0]


@given(n=st.integers(0, 500), world_size=st.integers(1, 20))
def test_evaluation_sees_every_image_exactly_once(n, world_size):
    parts = [evaluation_indices(n, rank, world_size) for rank in range(world_size)]
    assert sorted(np.concatenate(parts)) == list(range(n))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@given(data=st.data(), world_size=st.integers(1, 8), batch_size=st.integers(1, 9))
def test_ranks_share_out_the_global_batches(data, world_size, batch_size):
    n = data.draw(st.integers(world_size * batch_size, 300))
    order = epoch_order(n, seed=3, epoch=4)
    parts = [training_indices(order, batch_size, rank, world_size) for rank in range(world_size)]
    steps = steps_per_epoch(n, batch_size, world_size)
    assert {len(part) for part in parts} == {steps * batch_size}
    global_batches = np.stack([part.reshape(steps, batch_size) for part in parts], axis=1)
    np.testing.assert_array_equal(global_batches.ravel(), order[: steps * batch_size * world_size])
    assert n - global_batches.size < world_size * batch_size
    one_process = training_indices(order, batch_size * world_size)
    np.testing.assert_array_equal(global_batches.ravel(), one_process)


def test_a_batch_larger_than_the_data_set_is_an_error():
    assert steps_per_epoch(128, 64, 2) == 1
    with pytest.raises(
        ReportedError, match=r"has 127 images, fewer than one batch of 64 on each of 2 ranks; lower --per_b"
    ):
        steps_per_epoch(127, 64, 2)
    with pytest.raises(ReportedError, match="has 10 images, fewer than one batch of 64; lower"):
        training_indices(epoch_order(10, 0, 0), 64)


@given(seed=numbers, epoch=numbers)
def test_operators_are_seeded_within_mindspore_s_range_and_never_with_its_word_for_unseeded(seed, epoch):
    seeds = {augmentation_seed(seed, epoch, rank) for rank in range(8)} | {augmentation_seed(seed, epoch + 1, 0)}
    assert len(seeds) == 9
    assert all(2**31 <= value < 2**32 for value in seeds)
