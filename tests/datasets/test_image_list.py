"""Text files of `path label` lines."""

import os

import numpy as np
import pytest

from src.datasets.sources import open_source
from src.utils.errors import ReportedError


def test_paths_may_hold_spaces_and_be_relative_or_absolute(photo_folder, tmp_path):
    (tmp_path / "flowers\u2028").symlink_to(photo_folder / "flower")  # a line separator to str.splitlines
    absolute = photo_folder / "temple 塔" / "temple 塔 1.png"
    file = tmp_path / "list.txt"
    file.write_text(
        f"\ufeffflowers\u2028/flower 0.jpg 2\r\n\n{absolute}\t0\n  flowers\u2028/flower 3.jpg   02  \n", "utf-8"
    )
    source = open_source("list", file, split="train")
    assert source.labels.tolist() == [2, 0, 2]
    assert source.labels.dtype == np.int32
    assert source.class_names == ("0", "1", "2")
    assert source.image_name(0) == f"{tmp_path}/flowers?/flower 0.jpg"
    assert source.image_name(1) == str(absolute)
    assert source.read(2).tobytes() == (photo_folder / "flower" / "flower 3.jpg").read_bytes()


def test_a_picture_in_several_lines_is_said_to_be_counted_as_often(photo_folder, tmp_path):
    names = [f"{photo_folder}/flower/flower {i}.jpg" for i in (0, 1, 0, 2, 1, 0)]
    file = tmp_path / "list.txt"
    file.write_text("".join(f"{name} {label}\n" for name, label in zip(names, (0, 1, 0, 1, 0, 1), strict=True)))
    found = open_source("list", file, split="train")
    text = f"3 lines name a picture of an earlier line, 2 of them with another label, first {names[0]}"
    assert found.remarks == (text,) and len(found) == 6
    file.write_text(f"{names[0]} 0\n{names[1]} 1\n")
    assert open_source("list", file, split="train").remarks == ()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("flower.jpg", "line 2: expected `path label`, found 'flower.jpg'"),
        ("flower.jpg one", "line 2: the label should be an integer from 0 to 99999, found 'one'"),
        ("flower.jpg -1", "found '-1'"),
        ("flower.jpg 1.0", "found '1.0'"),
        ("flower.jpg ²", "found '²'"),
        ("flower.jpg " + "9" * 5000, "found '" + "9" * 80 + "'"),
        ("flower.jpg 100000", "found '100000'"),
        ("missing.jpg 1", r"line 2: there is no file .*missing\.jpg"),
        (". 1", "line 2: there is no file"),
        ("a\0b.jpg 1", r"line 2: there is no file .*a\?b\.jpg"),
        ("x" * 5000 + " 1", "line 2: there is no file xxx"),
    ],
)
def test_a_bad_line_is_named(photo_folder, tmp_path, line, message):
    (tmp_path / "flower.jpg").symlink_to(photo_folder / "flower" / "flower 0.jpg")
    (tmp_path / "list.txt").write_text(f"flower.jpg 0\n{line}\nflower.jpg 0\n", "utf-8")
    with pytest.raises(ReportedError, match=message) as raised:
        open_source("list", tmp_path / "list.txt", split="train")
    assert "list.txt line 2" in str(raised.value)
    assert len(str(raised.value)) < 700


def test_what_is_no_list(photo_folder, tmp_path):
    with pytest.raises(ReportedError, match=r"flower 0\.jpg is not UTF-8 text"):
        open_source("list", photo_folder / "flower" / "flower 0.jpg", split="train")
    with pytest.raises(ReportedError, match="is no file; expected a text file"):
        open_source("list", photo_folder, split="train")
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(ReportedError, match=r"empty\.txt is empty"):
        open_source("list", tmp_path / "empty.txt", split="train")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ReportedError, match="pipe is no file"):
        open_source("list", tmp_path / "pipe", split="train")
    with pytest.raises(ReportedError, match="cannot be read: File name too long; expected a text file of `path label`"):
        open_source("list", "x" * 300, split="train")
