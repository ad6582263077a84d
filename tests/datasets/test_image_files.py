"""Encoded pictures on disk: read, checked when their bytes are new, named."""

import os
import struct
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.datasets.classification import evaluation_batches, usable_indices
from src.datasets.image_files import ImageFiles
from src.datasets.pictures import open_pictures
from src.datasets.preprocessing import default_preprocessing
from src.utils.errors import ReportedError


def encode(image: Image.Image, file_format: str, **options) -> bytes:
    buffer = BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def photograph(photographs):
    return Image.fromarray(photographs[0]).resize((120, 90))


def test_a_file_is_read_named_and_checked_once(tmp_path, photograph):
    (tmp_path / "good.jpg").write_bytes(encode(photograph, "JPEG"))
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


# In a process of its own: unchecked, the second content kills it.
CHANGED = """
import sys, os
from pathlib import Path
from mindspore.dataset import vision
from src.datasets.image_files import ImageFiles
from src.utils.errors import ReportedError

folder = Path(sys.argv[1])
files, decode, status = ImageFiles(folder, ["a.jpg"]), vision.Decode(), (folder / "a.jpg").stat()
print(decode(files(0)).shape)
for content in sorted((folder / "then").iterdir()):
    (folder / "a.jpg").write_bytes(content.read_bytes())
    os.utime(folder / "a.jpg", ns=(status.st_atime_ns, status.st_mtime_ns))
    try:
        print(decode(files(0)).shape)
    except ReportedError as error:
        print(error)
"""


@pytest.mark.slow
def test_a_file_that_changes_is_checked_again_even_when_its_size_and_time_stay(tmp_path, photograph):
    good = encode(photograph, "JPEG")
    frame = good.index(b"\xff\xc0") + 5
    (tmp_path / "a.jpg").write_bytes(good)
    (tmp_path / "then").mkdir()
    contents = {
        "1 damaged": good[:300] + bytes(len(good) - 300),
        "2 whole": good,
        "3 huge": good[:frame] + struct.pack(">HH", 60000, 60000) + good[frame + 4 :],
        "4 WebP": encode(photograph, "WEBP"),
        "5 smaller": encode(photograph.resize((50, 40)), "PNG"),
        "6 empty": b"",
    }
    for name, content in contents.items():
        (tmp_path / "then" / name).write_bytes(content)
    done = subprocess.run([sys.executable, "-c", CHANGED, tmp_path], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line.removeprefix(f"{tmp_path}/") for line in done.stdout.splitlines()]
    assert lines[0] == lines[2] == "(90, 120, 3)"
    assert f"found {len(good)} bytes that cannot be decoded" in lines[1]
    assert lines[3].startswith("a.jpg has 60000 x 60000 pixels, more than the limit of 178956970 pixels")
    assert "a.jpg should be a complete JPEG, PNG, BMP or TIFF picture, found a WebP picture" in lines[4]
    assert lines[5] == "(40, 50, 3)"
    assert "found an empty file" in lines[6]


def test_what_would_keep_the_reader_waiting_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "folder.jpg").mkdir()
    with (tmp_path / "sparse.jpg").open("wb") as file:
        file.truncate(2**31 + 1)
    files = ImageFiles(tmp_path, ["pipe.jpg", "zero.jpg", "folder.jpg", "sparse.jpg"])
    for i, reason in enumerate(
        ["it is a named pipe", "it is a device", "Is a directory", "2147483649 bytes, more than the limit"]
    ):
        with pytest.raises(ReportedError, match=rf"{files.name(i)} cannot be read: .*{reason}"):
            files(i)


def write_odd_pictures(folder: Path, photograph: Image.Image) -> None:
    """Two pictures of 12 bits in 16, a bare CMYK one, a sound one."""
    grey = np.asarray(photograph.convert("L")).astype(np.uint16)
    Image.fromarray(grey * 16).save(folder / "a.png")
    Image.fromarray(grey * 16).save(folder / "b.tif")
    cmyk = encode(photograph.convert("CMYK"), "JPEG")
    at = cmyk.index(b"\xff\xee")
    (folder / "c.jpg").write_bytes(cmyk[:at] + cmyk[at + 16 :])
    Image.fromarray(grey * 256).save(folder / "d.png")


def test_what_may_look_wrong_is_counted_and_told_once(tmp_path, photograph):
    write_odd_pictures(tmp_path, photograph)
    source = open_pictures(tmp_path)
    assert source.noticed() == []
    assert len(list(evaluation_batches(source, default_preprocessing("imagenet"), batch_size=4, workers=1))) == 1
    assert source.noticed() == []  # the pipeline has logged them
    again = open_pictures(tmp_path)
    for i in (0, 1, 2, 3, 0, 1):
        again.read(i)
    bare, dark = again.noticed()
    assert bare.startswith("1 of the 4 pictures read so far are CMYK without Adobe's marker")
    assert dark.startswith("2 of the 4 pictures read so far have 16 bits but values in their lowest quarter only")
    assert again.noticed() == []


def test_what_is_noticed_reaches_the_log(tmp_path, photograph, capsys):
    write_odd_pictures(tmp_path, photograph)
    assert usable_indices(open_pictures(tmp_path), 2)[1] == []
    out = capsys.readouterr().out
    assert out.count(":WARNING:") == 2
    assert ":WARNING:2 of the 4 pictures read so far have 16 bits" in out


def test_bare_cmyk_is_decoded_as_pillow_does(tmp_path, photograph):
    write_odd_pictures(tmp_path, photograph)
    preprocessing = default_preprocessing("imagenet")
    photograph.convert("CMYK").save(tmp_path / "e.jpg")
    ((images, _, _),) = evaluation_batches(open_pictures(tmp_path), preprocessing, batch_size=8, workers=1)
    np.testing.assert_array_equal(images[2], images[4])
