"""The C++ preprocessing against the Python pipeline: the same pictures refused, the others equal bit for bit."""

import os
import struct
import subprocess
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import write_cifar
from cpp import build, damaged, encoded, photographs, png, png_chunk, preprocess, write_all
from file_kinds import FILES
from PIL import Image

from src.datasets import image_check
from src.datasets.cifar10 import open_cifar10
from src.datasets.classification import evaluation_batches
from src.datasets.decoding import stored_pixels
from src.datasets.image_files import ImageFiles
from src.datasets.plain_batches import plain_batches
from src.datasets.preprocessing import CIFAR10_MEAN, CIFAR10_STD, IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from src.datasets.preprocessing_choices import FILES as ENCODED
from src.datasets.source import Source
from src.utils.errors import ReportedError
from src.utils.shown import printable

pytestmark = pytest.mark.slow  # a compiler is at work

IMAGENET = Preprocessing(224, 256, IMAGENET_MEAN, IMAGENET_STD)
CIFAR10 = Preprocessing(32, 0, CIFAR10_MEAN, CIFAR10_STD)
ODD = Preprocessing(40, 47, (0.1, 0.7, 0.33), (0.9, 0.21, 0.05))
GEOMETRIES = {
    "224 of 256": IMAGENET,
    "32": CIFAR10,
    "40 of 47": ODD,
    "as stored": replace(IMAGENET, pixels="stored"),
    "timm": Preprocessing(224, 249, IMAGENET_MEAN, IMAGENET_STD, "shorter_side", "bicubic"),
    "torchvision": Preprocessing(63, 72, IMAGENET_MEAN, IMAGENET_STD, "shorter_side"),
    "letterbox as stored": Preprocessing(61, 70, IMAGENET_MEAN, IMAGENET_STD, "letterbox", "bicubic", "stored"),
    "grey": Preprocessing(64, 73, (0.449,), (0.226,)),
    "grey letterbox": Preprocessing(61, 0, (0.449,), (0.226,), "letterbox"),
    "grey, shorter side": Preprocessing(61, 64, (0.449,), (0.226,), "shorter_side", "bicubic"),
}


@pytest.fixture(scope="module")
def tool() -> Path:
    return build("preprocess_tool") / "preprocess_tool"


def python_tensors(
    files: list[Path], preprocessing: Preprocessing, batches: Callable = evaluation_batches
) -> list[np.ndarray | None]:
    """What the Python pipeline makes of each file, float32 (3, S, S); None where it refuses the file."""
    images = ImageFiles(Path("/"), [str(file) for file in files])

    def accepted(i: int) -> bool:
        try:
            return len(images(i)) > 0
        except ReportedError:
            return False

    good = [i for i in range(len(files)) if accepted(i)]
    source = Source("folder", ("any",), np.zeros(len(files), np.int32), ENCODED, images, images.name).subset(
        np.array(good)
    )
    tensors: list[np.ndarray | None] = [None] * len(files)
    for batch, _, indices in batches(source, preprocessing, batch_size=16, workers=2):
        for tensor, i in zip(batch, indices, strict=True):
            tensors[good[i]] = tensor
    return tensors


def cpp_tensors(tool: Path, files: list[Path], preprocessing: Preprocessing, output: Path) -> list[np.ndarray | None]:
    """The same by the C++ program."""
    output.mkdir()
    lines = preprocess(tool, preprocessing, files, "--output_dir", output).stdout.splitlines()
    assert len(lines) == len(files)
    shape = preprocessing.input_channels, preprocessing.image_size, preprocessing.image_size
    return [
        np.fromfile(output / f"{i}.bin", np.float32).reshape(shape) if line == "ok" else None
        for i, line in enumerate(lines)
    ]


def with_jpeg_segment_removed(jpeg: bytes, marker: bytes) -> bytes:
    start = jpeg.index(marker)
    (length,) = struct.unpack(">H", jpeg[start + 2 : start + 4])
    return jpeg[:start] + jpeg[start + 2 + length :]


def with_chunk(whole_png: bytes, name: bytes, content: bytes) -> bytes:
    return whole_png[:33] + png_chunk(name, content) + whole_png[33:]


def odd_pictures() -> dict[str, bytes]:
    """Files that show the two photographs in every form of JPEG and PNG that Pillow, or we, can write."""
    temple, flower = photographs()
    small = temple.crop((10, 20, 311, 222))
    pixels = np.asarray(temple)
    ramp = np.tile(np.arange(640) % 256, (427, 1)).astype(np.uint8)
    with_alpha = np.dstack([pixels, ramp])
    deep = with_alpha.astype(np.uint16) * 251 + 77
    turned = {value: Image.Exif() for value in range(1, 10)}
    for value, exif in turned.items():
        exif[0x0112] = value  # orientation

    jpegs = {
        "plain": (temple, {}),
        "4:4:4": (flower, {"subsampling": 0, "quality": 100}),
        "4:2:2": (temple, {"subsampling": 1}),
        "4:2:0 of odd sides": (flower.crop((3, 5, 404, 302)), {"subsampling": 2}),
        "progressive": (temple, {"progressive": True}),
        "progressive 4:4:4": (flower, {"progressive": True, "subsampling": 0, "quality": 30}),
        "progressive grey": (temple.convert("L"), {"progressive": True}),
        "grey": (flower.convert("L"), {}),
        "CMYK": (temple.convert("CMYK"), {}),
        "CMYK of low quality": (flower.convert("CMYK"), {"quality": 20}),
        "RGB": (flower, {"keep_rgb": True}),
        "of lowest quality": (flower, {"quality": 1}),
        "with restart markers": (temple, {"restart_marker_rows": 1}),
        "with optimised tables": (temple, {"optimize": True}),
        "with a colour profile": (temple, {"icc_profile": bytes(3000)}),
        "with a comment": (temple, {"comment": b"a comment"}),
        **{f"EXIF {value}": (small, {"exif": exif}) for value, exif in turned.items()},
        "1 x 1": (temple.crop((5, 5, 6, 6)), {}),
        "1 row": (temple.crop((0, 9, 640, 10)), {}),
        "1 column": (temple.crop((9, 0, 10, 427)), {}),
        "of 512 x 512": (temple.resize((512, 512)), {}),
        "of 512 x 256": (temple.resize((512, 256)), {}),
        "of 256 x 256": (temple.resize((256, 256)), {}),
        "of 94 x 94": (temple.resize((94, 94)), {}),
        "wide": (flower.resize((3000, 40)), {}),
        "small": (flower.resize((20, 31)), {}),
        "huge": (flower.resize((6000, 4000)), {}),
    }
    pngs = {
        "RGB": (temple, {}),
        "RGBA": (Image.fromarray(with_alpha), {}),
        "grey": (flower.convert("L"), {}),
        "grey with alpha": (Image.fromarray(with_alpha).convert("LA"), {}),
        "black and white": (temple.convert("1"), {}),
        "1 bit palette": (flower.quantize(2), {}),
        "2 bit palette": (flower.quantize(4), {}),
        "4 bit palette": (flower.quantize(13), {}),
        "8 bit palette": (temple.quantize(200), {}),
        "palette with a transparent colour": (temple.quantize(100), {"transparency": 3}),
        "RGB with a transparent colour": (temple, {"transparency": (0, 0, 0)}),
        "grey with a transparent grey": (temple.convert("L"), {"transparency": 7}),
        "16 bit grey": (Image.fromarray(deep[..., 0]), {}),
        **{f"EXIF {value}": (small, {"exif": exif}) for value, exif in turned.items()},
        "animated": (temple, {"save_all": True, "append_images": [flower]}),
        "1 x 1": (temple.crop((5, 5, 6, 6)), {}),
    }
    files = {f"JPEG {name}": encoded(picture, "JPEG", **options) for name, (picture, options) in jpegs.items()}
    files |= {f"PNG {name}": encoded(picture, "PNG", **options) for name, (picture, options) in pngs.items()}

    files["JPEG CMYK without Adobe's marker"] = with_jpeg_segment_removed(files["JPEG CMYK"], b"\xff\xee")
    ycck = bytearray(files["JPEG CMYK"])
    ycck[ycck.index(b"\xff\xee") + 15] = 2  # Adobe's colour transform
    files["JPEG YCCK"] = bytes(ycck)
    tall = bytearray(encoded(temple.crop((0, 0, 512, 256)), "JPEG", subsampling=1))
    frame = tall.index(b"\xff\xc0")
    tall[frame + 5 : frame + 9] = struct.pack(">HH", 512, 256)  # the blocks of a 4:2:2 picture laid out as 4:4:0
    tall[frame + 11] = 0x12
    files["JPEG 4:4:0"] = bytes(tall)
    files["PNG with a large colour profile"] = encoded(
        temple, "PNG", icc_profile=np.random.default_rng(0).bytes(9_000_000)
    )
    files["PNG with a large private chunk"] = with_chunk(files["PNG RGB"], b"prVt", bytes(9_000_000))
    files["JPEG with more behind it"] = files["JPEG plain"] + bytes(1000)

    for name, content in ((b"gAMA", struct.pack(">I", 100000)), (b"bKGD", bytes(6)), (b"sBIT", b"\5\5\5")):
        files[f"PNG with {name.decode()}"] = with_chunk(files["PNG RGB"], name, content)
    files["PNG 16 bit RGB"] = png(deep[..., :3], 2)
    files["PNG 16 bit RGBA"] = png(deep, 6)
    files["PNG 16 bit grey with alpha"] = png(deep[..., 2:], 4)
    files["PNG interlaced"] = png(pixels, 2, interlaced=True)
    files["PNG interlaced RGBA"] = png(with_alpha, 6, interlaced=True)
    files["PNG interlaced 3 x 2"] = png(pixels[:2, :3], 2, interlaced=True)
    return files


@pytest.fixture(scope="module")
def odd_files(tmp_path_factory) -> dict[str, Path]:
    pictures = odd_pictures()
    return dict(
        zip(pictures, write_all(tmp_path_factory.mktemp("odd") / "files", list(pictures.values())), strict=True)
    )


@pytest.mark.parametrize("preprocessing", GEOMETRIES.values(), ids=GEOMETRIES)
def test_every_form_of_picture_is_the_same_bit_for_bit(tool, odd_files, preprocessing, tmp_path):
    if preprocessing.resize_mode == "shorter_side":  # of which these are too thin, see below
        odd_files = {name: file for name, file in odd_files.items() if name not in ("JPEG 1 row", "JPEG 1 column")}
    ours = cpp_tensors(tool, list(odd_files.values()), preprocessing, tmp_path / "tensors")
    theirs = python_tensors(list(odd_files.values()), preprocessing)
    same = {name: np.array_equal(a, b) for name, a, b in zip(odd_files, ours, theirs, strict=True) if b is not None}
    assert len(same) == len(odd_files) >= 70
    assert [name for name, equal in same.items() if not equal] == []
    plain = python_tensors(list(odd_files.values()), preprocessing, plain_batches)
    assert [name for name, a, b in zip(odd_files, plain, theirs, strict=True) if not np.array_equal(a, b)] == []


def test_pictures_too_thin_for_their_shape_to_be_kept_are_refused_by_both(tool, odd_files):
    file = odd_files["JPEG 1 row"]
    sentence = "a picture of 640 x 1 pixels is too thin to be resized to a shorter side of 249"
    assert sentence in preprocess(tool, GEOMETRIES["timm"], [file]).stdout
    for batches in (evaluation_batches, plain_batches):
        with pytest.raises(ReportedError, match=sentence):
            python_tensors([file], GEOMETRIES["timm"], batches)


def test_damaged_pictures_are_refused_or_decoded_as_in_python(tool, tmp_path, monkeypatch):
    temple, flower = (picture.resize((200, 150)) for picture in photographs())
    originals = [
        encoded(temple, "JPEG"),
        encoded(flower, "JPEG", progressive=True),
        encoded(temple.convert("CMYK"), "JPEG"),
        encoded(flower, "JPEG", restart_marker_rows=1),
        encoded(temple, "PNG"),
        encoded(flower.quantize(50), "PNG"),
        png(np.asarray(temple), 2, interlaced=True),
    ]
    files = write_all(tmp_path / "files", list(damaged(originals, 40 * len(originals), seed=3)))
    ours = cpp_tensors(tool, files, ODD, tmp_path / "tensors")
    theirs = python_tensors(files, ODD)
    accepted = [b is not None for b in theirs]
    assert 0.2 < np.mean(accepted) < 0.8
    assert [i for i, (a, b) in enumerate(zip(ours, accepted, strict=True)) if (a is not None) != b] == []
    assert [i for i in np.flatnonzero(accepted) if not np.array_equal(ours[i], theirs[i])] == []
    # As where there is no MindSpore; what lies behind the damage Pillow may decode otherwise.
    monkeypatch.setattr(image_check, "decode_to_check", stored_pixels)
    plain = python_tensors(files, ODD, plain_batches)
    assert [i for i, (a, b) in enumerate(zip(plain, accepted, strict=True)) if (a is not None) != b] == []


def test_cifar_records_are_the_same_bit_for_bit(tool, tmp_path):
    write_cifar(tmp_path / "test_batch.bin", 23)
    source = open_cifar10(tmp_path, "eval")
    for preprocessing in (CIFAR10, ODD, GEOMETRIES["grey"], GEOMETRIES["timm"]):
        flags = ("--dataset", "cifar10", "--output_dir", tmp_path)
        assert preprocess(tool, preprocessing, [tmp_path / "test_batch.bin"], *flags).stdout == "ok\n"
        ((images, _, _),) = evaluation_batches(source, preprocessing, batch_size=23, workers=1)
        assert np.array_equal(np.fromfile(tmp_path / "0.bin", np.float32), images.ravel())
        assert np.array_equal(next(plain_batches(source, preprocessing, batch_size=23, workers=1))[0], images)


def test_normalisation_rounds_as_in_python(tool, tmp_path):
    values = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    (file,) = write_all(tmp_path / "files", [png(values, 2)])
    random = np.random.default_rng(0)
    for i in range(40):
        mean, std = random.uniform(0, 1, 3).tolist(), random.uniform(0.001, 1, 3).tolist()
        preprocessing = Preprocessing(16, 0, tuple(mean), tuple(std))
        (ours,) = cpp_tensors(tool, [file], preprocessing, tmp_path / str(i))
        assert np.array_equal(ours, python_tensors([file], preprocessing)[0])


def test_what_is_no_jpeg_or_png_is_refused_with_a_reason(tool, tmp_path):
    temple = photographs()[0]
    jpeg, whole_png = encoded(temple, "JPEG"), encoded(temple, "PNG")
    contents = {
        encoded(temple, "BMP"): "found a BMP picture; convert it to PNG or JPEG",
        b"plain text": "neither JPEG nor PNG; convert it",
        b"": "found 0 bytes: it is empty",
        b"\xff\xd8\xff": "neither JPEG nor PNG",
        jpeg[:-1]: "it is truncated",
        whole_png[:-1]: "it is truncated",
        whole_png[:33] + b"\0\0\0\0tEXtcrc?" + whole_png[33:]: "CRC error",
        whole_png[:8] + b"\x7f" + whole_png[9:]: "it is truncated, or a chunk's length is damaged",
    }
    done = preprocess(tool, IMAGENET, write_all(tmp_path / "files", list(contents)))
    for line, reason in zip(done.stdout.splitlines(), contents.values(), strict=True):
        assert "should be a complete JPEG or PNG picture" in line
        assert reason in line
    assert (done.returncode, done.stderr) == (1, f"error: {len(contents)} of {len(contents)} files are bad\n")


def resized_jpeg(jpeg: bytes, height: int, width: int) -> bytes:
    size_at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:size_at] + struct.pack(">HH", height, width) + jpeg[size_at + 4 :]


def with_stray_byte(jpeg: bytes) -> bytes:
    """Before its frame; decoders look for the next marker."""
    return jpeg.replace(b"\xff\xc0", b"\0\xff\xc0", 1)


def resized_png(whole_png: bytes, width: int, height: int) -> bytes:
    return whole_png[:8] + png_chunk(b"IHDR", struct.pack(">II", width, height) + whole_png[24:29]) + whole_png[33:]


def test_limits_and_kinds_are_said_in_the_words_of_python(tool, tmp_path):
    jpeg, whole_png = encoded(photographs()[0], "JPEG"), encoded(photographs()[0], "PNG")
    contents = [resized_jpeg(jpeg, *size) for size in ((40000, 40000), (65535, 100), (100, 65535))]
    contents += [with_stray_byte(contents[0])]
    contents += [resized_png(whole_png, *size) for size in ((13377, 13379), (20000, 20000), (3, 1000001))]
    contents += [jpeg[:2000].replace(jpeg[:2], b"GIF89a"), *FILES.values()]
    files = write_all(tmp_path / "files", contents)
    lines = preprocess(tool, IMAGENET, files).stdout.splitlines()
    images = ImageFiles(Path("/"), [str(file) for file in files])
    for i, line in enumerate(lines):
        with pytest.raises(ReportedError) as caught:
            images(i)
        assert line == str(caught.value).replace("JPEG, PNG, BMP or TIFF picture", "JPEG or PNG picture")


def test_small_files_that_claim_much_are_refused_by_both(tool, tmp_path):
    jpeg, whole_png = encoded(photographs()[0].resize((9, 9)), "JPEG"), encoded(photographs()[0].resize((9, 9)), "PNG")
    large_jpeg, large_png = resized_jpeg(jpeg, 13300, 13300), resized_png(whole_png, 13300, 13300)
    files = write_all(tmp_path / "files", [large_jpeg, with_stray_byte(large_jpeg), large_png])
    lines = preprocess(tool, IMAGENET, files).stdout.splitlines()
    images = ImageFiles(Path("/"), [str(file) for file in files])
    for i, line in enumerate(lines):
        assert "cannot hold the 13300 x 13300 pixels that it claims" in line
        with pytest.raises(ReportedError, match="cannot hold the 13300 x 13300 pixels that it claims"):
            images(i)


def test_names_are_printed_as_python_prints_them(tool):
    characters = [c for c in map(chr, range(1, 0x30000)) if unicodedata.category(c) not in ("Cn", "Cs") and c != "/"]
    names = ["".join(characters[i : i + 100]) for i in range(0, len(characters), 100)]
    names += [
        os.fsdecode(name) for name in (b"\xff\xfe", b"\xe2\x82", b"\x9b31m", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf8")
    ]
    command = [tool, "--image_size=8", "--resize=0", "--mean=0,0,0", "--std=1,1,1", *(f"/no/{name}" for name in names)]
    lines = subprocess.run(command, capture_output=True, text=True).stdout.split("\n")[:-1]
    assert [line.split(" cannot be read: ")[0] for line in lines] == [printable(f"/no/{name}") for name in names]
