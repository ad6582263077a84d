"""Random numbers that belong to pictures."""

import numpy as np

from src.datasets.draws import PURPOSES, shown_in, splitmix64


def test_the_generator_is_the_published_one():
    """The first outputs of SplitMix64 from 1234567, as its authors' C program gives them."""
    found = splitmix64(np.array([1234567], np.uint64), np.arange(3))
    assert found.tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_how_often_a_picture_was_shown_before():
    assert shown_in(np.array([3, 0, 3, 1, 3, 0]), 1, 0).times.tolist() == [0, 0, 1, 0, 2, 1]
    assert shown_in(np.zeros(0, np.int64), 1, 0).times.tolist() == []


def test_numbers_belong_to_a_picture_wherever_it_stands():
    order = np.random.default_rng(0).permutation(100)
    shown, others = shown_in(order, 7, 3), shown_in(np.arange(100), 7, 3)
    numbers = shown.uniforms("augmentation", 5)
    np.testing.assert_array_equal(numbers, others.uniforms("augmentation", 5)[order])
    np.testing.assert_array_equal(numbers[10:20], shown[10:20].uniforms("augmentation", 5))
    np.testing.assert_array_equal(numbers[:, :2], shown.uniforms("augmentation", 2))


def test_seed_epoch_picture_repetition_and_purpose_all_matter_and_numbers_are_uniform():
    seen = [
        shown_in(np.tile(np.arange(200), 2), seed, epoch).uniforms(purpose, 8)
        for seed in (1, 2)
        for epoch in (0, 1)
        for purpose in PURPOSES
    ]
    numbers = np.concatenate([part.ravel() for part in seen])
    assert len(np.unique(numbers)) == len(numbers)
    counts = np.histogram(numbers, 16, (0, 1))[0]
    expected = len(numbers) / 16
    assert ((counts - expected) ** 2 / expected).sum() < 40  # chi-squared of 15 degrees of freedom: 1 in 2000 above


def test_seeds_are_such_that_mindspore_takes():
    seeds = shown_in(np.arange(1000), 1, 0).seeds("auto_augment")
    assert seeds.dtype == np.uint32
    assert len(np.unique(seeds)) > 990
