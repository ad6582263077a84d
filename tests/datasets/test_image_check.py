"""What is let through to MindSpore's decoder, what is not, and what is said about it."""

import re
import struct
import subprocess
import sys
import zlib
from io import BytesIO

import numpy as np
import pytest
from commands import ROOT
from mindspore.dataset import vision
from PIL import Image, PngImagePlugin

from src.datasets.image_check import MAX_PIXELS, MAX_SIDE, Form, UnusablePictureError, check_picture, decodable


def encode(image: Image.Image, file_format: str, **options) -> np.ndarray:
    buffer = BytesIO()
    image.save(buffer, file_format, **options)
    return np.frombuffer(buffer.getvalue(), np.uint8).copy()


def png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def array(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8).copy()


def problem(data: np.ndarray) -> str:
    with pytest.raises(UnusablePictureError) as caught:
        check_picture(data)
    return str(caught.value)


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
        assert check_picture(encode(photograph.convert(mode), file_format)) & Form.CHECKED, mode


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_tiff_of_every_compression_is_let_through_however_well_it_compresses(compression):
    for picture in (Image.effect_noise((90, 70), 90), Image.new("L", (2000, 1500), 255)):
        data = encode(picture, "TIFF", compression=compression)
        assert check_picture(data) == Form.CHECKED
    fax = encode(Image.new("1", (5000, 7000), 1), "TIFF", compression="group4")
    assert len(fax) < 4000
    assert check_picture(fax) == Form.CHECKED


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}, {"subsampling": 0}])
def test_a_jpeg_of_one_colour_is_let_through(options):
    for mode in ("L", "RGB"):
        data = encode(Image.new(mode, (3000, 3000), 0), "JPEG", quality=5, **options)
        assert check_picture(data) == Form.CHECKED
    assert check_picture(encode(Image.new("L", (3000, 3000), 0), "PNG")) == Form.CHECKED


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "BMP", "TIFF"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.95])
def test_a_truncated_picture_is_turned_down(photograph, file_format, kept):
    data = encode(photograph, file_format)
    assert problem(data[: int(kept * len(data))]).startswith(
        "should be a complete JPEG, PNG, BMP or TIFF picture, found"
    )


def test_sizes_at_the_edge(photograph):
    assert check_picture(encode(photograph.resize((1, 1)), "JPEG")) == Form.CHECKED
    header = encode(photograph, "JPEG")
    size = header.tobytes().index(b"\xff\xc0") + 5
    header[size : size + 4] = 255
    assert problem(header) == f"has 65535 x 65535 pixels, more than the limit of {MAX_PIXELS} pixels; make it smaller"
    header[size + 2 : size + 4] = (0, 200)
    assert problem(header) == "has 200 x 65535 pixels, more than the limit of 65500 for a side; make it smaller"
    assert problem(encode(Image.new("1", (MAX_SIDE + 1, 1)), "PNG")) == (
        f"has {MAX_SIDE + 1} x 1 pixels, more than the limit of {MAX_SIDE} for a side; make it smaller"
    )


def test_the_limits_are_those_of_the_c_program():
    text = (ROOT / "ascend310_infer/src/headers.cc").read_text()
    assert re.search(r"kMaxPixels = (\d+);", text)[1] == str(MAX_PIXELS)


@pytest.mark.slow
@pytest.mark.parametrize("text", [False, True])
def test_colour_profiles_and_text_of_any_size_are_no_damage(photograph, text):
    plain = encode(photograph, "PNG")
    for size in (1_100_000, 9_000_000):
        content = np.random.default_rng(0).bytes(size)
        info = PngImagePlugin.PngInfo()
        info.add_text("notes", "x" * 9 * size, zip=True)
        data = encode(photograph, "PNG", **({"pnginfo": info} if text else {"icc_profile": content}))
        form = check_picture(data)
        assert form == Form.CHECKED | Form.LARGE_METADATA
        np.testing.assert_array_equal(vision.Decode()(decodable(data, form)), vision.Decode()(plain))


def test_what_shapes_the_pixels_is_kept_with_large_metadata(photograph):
    palette = photograph.quantize(50)
    for transparency in ({}, {"transparency": 3}):
        plain = encode(palette, "PNG", **transparency)
        large = array(plain[:33].tobytes() + png_chunk(b"prVt", bytes(9_000_000)) + plain[33:].tobytes())
        form = check_picture(large)
        assert form & Form.LARGE_METADATA
        np.testing.assert_array_equal(vision.Decode()(decodable(large, form)), vision.Decode()(plain))


def test_what_is_sound_but_not_decoded_is_named(photograph):
    assert "found a WebP picture; convert it to PNG or JPEG" in problem(encode(photograph, "WEBP"))
    assert "found a GIF picture" in problem(encode(photograph, "GIF"))
    assert "found an AVIF picture" in problem(encode(photograph, "AVIF"))
    assert problem(encode(photograph.convert("F"), "TIFF")).startswith("is a TIFF of floating-point pixels")
    assert problem(encode(photograph.convert("I"), "TIFF")).startswith("is a TIFF of 32 bits a sample")
    jpeg = encode(photograph, "JPEG")
    frame = jpeg.tobytes().index(b"\xff\xc0")
    lossless, deep = jpeg.copy(), jpeg.copy()
    lossless[frame + 1] = 0xC3
    deep[frame + 1], deep[frame + 4] = 0xC1, 12
    assert "found a lossless JPEG" in problem(lossless)
    assert "found a JPEG of 12 bits a sample" in problem(deep)


def bmp(width: int, height: int, bits: int, compression: int, content: bytes) -> np.ndarray:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, 0, 0)
    palette = bytes(4 << bits) if bits <= 8 else b""
    start = 14 + len(header) + len(palette)
    return array(b"BM" + struct.pack("<IHHI", start + len(content), 0, 0, start) + header + palette + content)


def claims() -> dict[str, np.ndarray]:
    """Small files that claim much."""
    pixels = Image.new("RGB", (4, 4), (9, 200, 30))
    png, jpeg, progressive = encode(pixels, "PNG"), encode(pixels, "JPEG"), encode(pixels, "JPEG", progressive=True)
    files = {}
    for at in (8, 33, png.tobytes().index(b"IEND") - 4):
        for value in (0x7F, 0x20):
            files[f"PNG chunk at {at} of {value:x}000000 bytes"] = png.copy()
            files[f"PNG chunk at {at} of {value:x}000000 bytes"][at] = value
    header = png_chunk(b"IHDR", struct.pack(">II", 13300, 13300) + png[24:29].tobytes())
    files["PNG of 13300 x 13300"] = array(png[:8].tobytes() + header + png[33:].tobytes())
    for name, data, marker in (("JPEG", jpeg, b"\xff\xc0"), ("progressive JPEG", progressive, b"\xff\xc2")):
        size = data.tobytes().index(marker) + 5
        files[f"{name} of 13300 x 13300"] = data.copy()
        files[f"{name} of 13300 x 13300"][size : size + 4] = array(struct.pack(">HH", 13300, 13300))
    files["BMP of 13300 x 13300"] = bmp(13300, 13300, 24, 0, bytes(1000))
    files["BMP of 13300 x 13300 in runs"] = bmp(13300, 13300, 8, 1, b"\0\1" * 400)
    files["BMP upside down"] = bmp(13300, -13300, 24, 0, bytes(1000))
    tiff = encode(pixels, "TIFF")
    for tag in (256, 257):
        entry = tiff.tobytes().index(struct.pack("<HH", tag, 4))
        tiff[entry + 8 : entry + 12] = array(struct.pack("<I", 13300))
    files["TIFF of 13300 x 13300"] = tiff
    return files


MEMORY = """
import sys, resource
import numpy as np
from src.datasets.image_check import UnusablePictureError, check_picture
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for file in sys.argv[1:]:
    try:
        check_picture(np.fromfile(file, np.uint8))
        print("ok")
    except UnusablePictureError as error:
        print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
def test_small_files_that_claim_much_are_refused_without_its_memory(tmp_path):
    files = claims()
    for i, data in enumerate(files.values()):
        data.tofile(tmp_path / str(i))
    paths = [tmp_path / str(i) for i in range(len(files))]
    done = subprocess.run([sys.executable, "-c", MEMORY, *paths], capture_output=True, text=True, timeout=100)
    *lines, megabytes = done.stdout.splitlines()
    assert len(lines) == len(files), done.stderr[-2000:]
    assert {name: line for name, line in zip(files, lines, strict=True) if "should be a complete" not in line} == {}
    assert int(megabytes) < 100
    assert sum("which cannot hold the 13300 x 13300 pixels that it claims" in line for line in lines) >= 6
