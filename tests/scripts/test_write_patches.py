"""Patches of photographs: where they are from, that brightness does not tell their class, wrong usage."""

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from scripts.write_patches import CONTRAST, MEAN, SIDE, TILE, main, patches, tiles
from src.utils.errors import UsageError


@pytest.fixture(scope="module")
def photograph():
    return np.asarray(Image.fromarray(load_sample_image("china.jpg")).convert("L"))


def test_the_parts_to_train_on_and_held_out_do_not_meet():
    own, held_out = tiles(np.arange(200 * 330).reshape(200, 330))
    assert (len(own), len(held_out)) == (11, 4)  # 3 x 5 tiles
    assert all(tile.shape == (TILE, TILE) for tile in own + held_out)
    assert len(np.unique([own + held_out])) == 15 * TILE**2


def test_brightness_and_contrast_tell_nothing(photograph):
    made = np.stack(list(patches(tiles(photograph)[0], 200, np.random.default_rng(0))))
    assert made.shape == (200, SIDE, SIDE) and made.dtype == np.uint8
    assert np.median(np.abs(made.mean((1, 2)) - MEAN)) < 1
    assert np.median(np.abs(made.std((1, 2)) - CONTRAST)) < 1
    assert len(np.unique(made.reshape(200, -1), axis=0)) > 190


def test_a_dark_sky_is_left_out():
    sky = np.zeros((TILE, TILE), np.uint8)
    sky[:, 40:] = np.arange(24) * 8
    assert all(patch.std() > 20 for patch in patches([sky], 20, np.random.default_rng(0)))


@pytest.mark.parametrize("argv", [[], ["textures"], ["faces", "d"], ["textures", "d", "many"]])
def test_wrong_usage(argv):
    with pytest.raises(UsageError, match="usage: python scripts/write_patches"):
        main(argv)
