"""The preview sheet."""

import numpy as np
import pytest
from PIL import Image

from src.datasets.preprocessing import default_preprocessing
from src.datasets.preview import save_preview, shown_pixels


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (8, 1), (9, 2), (50, 4)])
def test_the_sheet_shows_up_to_32_pictures_in_rows_of_8(tmp_path, count, rows):
    images = np.zeros((count, 3, 32, 32), np.float32)
    save_preview(
        images, np.zeros(count, np.int32), default_preprocessing("digits"), ("zero",), tmp_path / "preview.png"
    )
    with Image.open(tmp_path / "preview.png") as sheet:
        sheet.load()
        assert sheet.size == (154 * min(count, 8), 176 * rows)


def test_normalisation_is_undone_and_odd_class_names_are_drawn(tmp_path):
    preprocessing = default_preprocessing("imagenet", 16)
    colour = np.array([0.8, 0.2, 0.4])
    image = np.broadcast_to(((colour - preprocessing.mean) / preprocessing.std)[:, None, None], (3, 16, 16))
    names = ("$\\frac{1}{2$ ^_ 塔 and a name that is much too long",)
    save_preview(image[None].astype(np.float32), np.zeros(1, np.int32), preprocessing, names, tmp_path / "preview.png")
    with Image.open(tmp_path / "preview.png") as sheet:
        middle = sheet.convert("RGB").getpixel((sheet.width // 2, sheet.height * 2 // 3))
    np.testing.assert_allclose(middle, colour * 255, atol=1)


def test_grey_inputs_are_shown_grey(tmp_path):
    """Not in matplotlib's false colours, nor stretched to each picture's own range."""
    preprocessing = default_preprocessing("imagenet", 16, input_channels=1)
    image = np.full((1, 16, 16), 0.6)
    image[:, :, :8] = 0.3
    image = ((image - preprocessing.mean[0]) / preprocessing.std[0]).astype(np.float32)
    np.testing.assert_allclose(shown_pixels(image, preprocessing)[0, ::8], [[0.3] * 3, [0.6] * 3], atol=1e-6)
    save_preview(image[None], np.array([[1, 0]]), preprocessing, ("a", "b"), tmp_path / "preview.png")
    with Image.open(tmp_path / "preview.png") as sheet:
        row, colours = sheet.height * 2 // 3, sheet.convert("RGB")
        found = [colours.getpixel((int(sheet.width * share), row)) for share in (0.25, 0.75)]
    np.testing.assert_allclose(found, [[76.5] * 3, [153] * 3], atol=1)
