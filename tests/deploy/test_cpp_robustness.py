"""The C++ program's unit tests, and damaged files, under AddressSanitizer and UndefinedBehaviorSanitizer."""

import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from commands import write_cifar
from cpp import build_sanitized, damaged, encoded, photographs, png, png_chunk, preprocess, write_all

from src.datasets.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

pytestmark = pytest.mark.slow  # a compiler is at work

SMALL = Preprocessing(40, 47, IMAGENET_MEAN, IMAGENET_STD)


@pytest.fixture(scope="module")
def programs() -> Path:
    return build_sanitized("preprocess_tool", "unit_tests")


def run_clean(programs: Path, files: list[Path], *flags: object) -> list[str]:
    """The tool's line for each file, after checking that nothing but bad files was complained about."""
    done = preprocess(programs / "preprocess_tool", SMALL, files, *flags)
    lines = done.stdout.splitlines()
    bad = len(lines) - lines.count("ok")
    assert len(lines) == len(files)
    assert done.returncode == (1 if bad else 0)
    assert done.stderr == (f"error: {bad} of {len(files)} files are bad\n" if bad else "")
    return lines


def test_unit_tests(programs):
    done = subprocess.run([programs / "unit_tests"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Status: SUCCESS" in done.stdout


def test_damaged_pictures_do_not_crash(programs, tmp_path):
    temple, flower = (picture.resize((200, 150)) for picture in photographs())
    pixels = np.asarray(temple)
    originals = [
        encoded(temple, "JPEG"),
        encoded(flower, "JPEG", progressive=True),
        encoded(temple.convert("CMYK"), "JPEG", subsampling=0),
        encoded(flower.convert("L"), "JPEG", restart_marker_rows=1),
        encoded(temple, "PNG"),
        encoded(flower.quantize(50), "PNG", transparency=3),
        encoded(temple.convert("1"), "PNG"),
        png(pixels.astype(np.uint16) * 257, 2),
        png(pixels, 2, interlaced=True),
    ]
    lines = run_clean(programs, write_all(tmp_path / "files", list(damaged(originals, 70 * len(originals), seed=1))))
    assert len(lines) >= 600
    assert 100 < lines.count("ok") < 500


def test_pictures_that_claim_to_be_huge_or_empty_are_refused(programs, tmp_path):
    temple = photographs()[0]
    jpeg, progressive, whole_png = (
        encoded(temple, "JPEG"),
        encoded(temple, "JPEG", progressive=True),
        encoded(temple, "PNG"),
    )
    contents = []
    for height, width in ((65500, 65500), (65535, 1), (1, 65535), (0, 640), (427, 0), (2700, 65500)):
        for original, marker in ((jpeg, b"\xff\xc0"), (progressive, b"\xff\xc2")):
            size_at = original.index(marker) + 5
            contents.append(original[:size_at] + struct.pack(">HH", height, width) + original[size_at + 4 :])
    for width, height in ((2**31 - 1, 2**31 - 1), (2**32 - 1, 1), (1, 2**31 - 1), (0, 5), (5, 0), (900000, 198)):
        for interlaced in (b"\0", b"\1"):
            header = struct.pack(">II", width, height) + whole_png[24:28] + interlaced
            contents.append(whole_png[:8] + png_chunk(b"IHDR", header) + whole_png[33:])
    lines = run_clean(programs, write_all(tmp_path / "files", contents))
    refused = [line for line in lines if line != "ok"]
    assert len(refused) >= len(lines) - 2  # baseline rows of one pixel may be complete


def test_damaged_cifar_files_do_not_crash(programs, tmp_path):
    write_cifar(tmp_path / "test_batch.bin", 3)
    whole = (tmp_path / "test_batch.bin").read_bytes()
    contents = [*damaged([whole], 100, seed=2), whole[:3073], whole[:3072], whole[1:], b"", b"\xff" * 3073]
    lines = run_clean(programs, write_all(tmp_path / "files", contents), "--dataset", "cifar10")
    assert lines[100] == "ok"
    assert all("not whole records" in line for line in lines[101:104])
    assert "has the label 255 in record 0" in lines[104]
    assert 30 < lines.count("ok") < 70


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--image_size is missing; see --help"),
        (["--image_size=0"], "--resize is missing; see --help"),
        (
            ["--image_siz=3"],
            "there is no flag --image_siz; choose from image_size, resize, mean, std, resize_mode, "
            "interpolation, pixels, dataset, output_dir",
        ),
        (["--mean"], "--mean needs a value"),
        (
            ["--image_size=9999", "--resize=0", "--mean=0,0,0", "--std=1,1,1"],
            "--image_size should be an integer from 1 to 8192, found '9999'",
        ),
    ],
)
def test_wrong_flags_are_one_line_and_status_2(programs, words, message):
    done = subprocess.run([programs / "preprocess_tool", *words], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {message}\n")
