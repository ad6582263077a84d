"""The preview sheet."""

import numpy as np
import pytest
from PIL import Image

from src.datasets.preprocessing import default_preprocessing
from src.datasets.preview import save_preview


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
