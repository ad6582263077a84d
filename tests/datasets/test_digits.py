"""The bundled digits: the split is fixed, and no picture is in both parts."""

import numpy as np
from sklearn.datasets import load_digits

from src.datasets.preprocessing import DIGITS_MEAN, DIGITS_STD
from src.datasets.sources import open_source


def test_parts_are_disjoint_complete_and_stratified():
    train, held_out = (open_source("digits", "", split=split) for split in ("train", "eval"))
    assert (len(train), len(held_out)) == (1442, 355)
    names = {source.image_name(i) for source in (train, held_out) for i in range(len(source))}
    assert names == {f"digits[{i}]" for i in range(1797)}
    share = np.bincount(held_out.labels) / np.bincount(load_digits().target)
    assert share.min() > 0.19
    assert share.max() < 0.205


def test_pictures_are_the_bundled_ones_enlarged_and_scaled_to_0_to_255():
    digits = load_digits()
    source = open_source("digits", "bundled", split="eval")
    assert source.class_names == tuple("0123456789")
    for i in (0, 100, 354):
        original = int(source.image_name(i)[len("digits[") : -1])
        pixels = source.read(i)
        assert (pixels.shape, pixels.dtype) == ((32, 32, 3), np.uint8)
        assert source.labels[i] == digits.target[original]
        assert (pixels == pixels[..., :1]).all()
        shrunk = pixels[..., 0].reshape(8, 4, 8, 4).mean((1, 3)) * 16 / 255
        assert np.corrcoef(shrunk.ravel(), digits.images[original].ravel())[0, 1] > 0.95
        assert abs(shrunk.mean() - digits.images[original].mean()) < 0.25


def test_the_statistics_are_those_of_the_training_part():
    source = open_source("digits", "", split="train")
    pixels = np.stack([source.read(i) for i in range(len(source))]) / 255
    np.testing.assert_allclose(pixels.mean((0, 1, 2)), DIGITS_MEAN, atol=5e-5)
    np.testing.assert_allclose(pixels.std((0, 1, 2)), DIGITS_STD, atol=5e-5)
