"""Which files are let through to MindSpore's decoder, which dies of some damaged JPEGs."""

import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from src.datasets.image_files import ImageFiles, is_picture, printable
from src.utils.errors import ReportedError


def encode(image: Image.Image, file_format: str, **options) -> np.ndarray:
    buffer = BytesIO()
    image.save(buffer, file_format, **options)
    return np.frombuffer(buffer.getvalue(), np.uint8).copy()


@pytest.fixture(scope="module")
def photograph(photographs):
    return Image.fromarray(photographs[0]).resize((120, 90))


@pytest.mark.parametrize(
    ("file_format", "modes"),
    [
        ("JPEG", ("RGB", "L", "1", "CMYK")),
        ("PNG", ("RGB", "L", "1", "P", "LA", "RGBA", "I;16")),
        ("BMP", ("RGB", "L", "1", "P", "RGBA")),
        ("TIFF", ("RGB", "L", "1", "P", "LA", "RGBA", "CMYK")),
    ],
)
def test_every_kind_of_picture_is_let_through(photograph, file_format, modes):
    for mode in modes:
        assert is_picture(encode(photograph.convert(mode), file_format)), mode


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "BMP", "TIFF"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.95])
def test_a_truncated_picture_is_turned_down(photograph, file_format, kept):
    data = encode(photograph, file_format)
    assert not is_picture(data[: int(kept * len(data))])


@pytest.mark.parametrize("file_format", ["GIF", "WEBP"])
def test_formats_mindspore_cannot_decode_are_turned_down(photograph, file_format):
    assert not is_picture(encode(photograph, file_format))


def test_sizes_at_the_edge(photograph):
    assert is_picture(encode(photograph.resize((1, 1)), "JPEG"))
    assert is_picture(encode(photograph, "JPEG", progressive=True))
    header = encode(photograph, "JPEG")
    size = header.tobytes().index(b"\xff\xc0") + 5
    header[size : size + 4] = 255  # 65535 x 65535 pixels, 12 GB
    assert not is_picture(header)


# In a process of its own: what this guards against is the death of the process.
FUZZ = """
import sys
from io import BytesIO
import numpy as np
from mindspore.dataset import vision
from PIL import Image
from sklearn.datasets import load_sample_images
from src.datasets.image_files import is_picture

image = Image.fromarray(load_sample_images().images[0]).resize((60, 45))
random = np.random.default_rng(0)
operators = vision.Decode(), vision.RandomCropDecodeResize(32)
passed = turned_down = 0
for progressive in (False, True):
    buffer = BytesIO()
    image.save(buffer, "JPEG", progressive=progressive)
    intact = np.frombuffer(buffer.getvalue(), np.uint8)
    for trial in range(600):
        data = intact.copy()
        positions = random.integers(2, 620 if trial % 2 else len(data), 1 + trial % 5)
        data[positions] = random.integers(0, 256, len(positions))
        if is_picture(data):
            passed += 1
            assert all(operator(data).ndim == 3 for operator in operators)
        else:
            turned_down += 1
print(passed, turned_down)
"""


def test_damaged_jpegs_neither_kill_the_process_nor_fail_to_decode_once_let_through():
    result = subprocess.run([sys.executable, "-c", FUZZ], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
    passed, turned_down = map(int, result.stdout.split())
    assert passed + turned_down == 1200
    assert turned_down > 200


def test_a_file_is_read_named_and_checked_once(tmp_path, photograph):
    (tmp_path / "good.jpg").write_bytes(encode(photograph, "JPEG").tobytes())
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "empty.png").touch()
    files = ImageFiles(tmp_path, ["good.jpg", "text.jpg", "empty.png", "missing.jpg"])
    assert files(0).tobytes() == (tmp_path / "good.jpg").read_bytes()
    with pytest.raises(
        ReportedError, match=r"text\.jpg should be a complete JPEG, .* found 10 bytes that cannot be decoded"
    ):
        files(1)
    with pytest.raises(ReportedError, match=r"empty\.png should be .* found an empty file"):
        files(2)
    with pytest.raises(ReportedError, match=r"missing\.jpg cannot be read: No such file or directory"):
        files(3)


def test_printable_paths_keep_spaces_and_unicode():
    assert printable("a b/塔.jpg") == "a b/塔.jpg"
    assert printable("a\r\n\x1b[31m.jpg") == "a???[31m.jpg"
