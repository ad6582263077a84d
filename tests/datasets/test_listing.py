"""What is a picture, what is a class, and that nothing else is left out unsaid."""

import errno
import os

import pytest
from PIL import Image

from src.datasets import listing
from src.datasets.listing import is_system_folder, picture_names
from src.datasets.sources import open_source
from src.datasets.usable import describe, open_usable
from src.utils.errors import ReportedError


def picture(path, form="PNG"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path, form)
    return path


@pytest.mark.parametrize(
    "name",
    [
        *(".ipynb_checkpoints", ".git", ".Trash-1000", "__MACOSX", "__pycache__", "@eaDir", "lost+found", "@Recycle"),
        *("System Volume Information", "#snapshot", "found.000", "Network Trash Folder"),
    ],
)
def test_folders_of_systems_and_tools_are_no_classes(name, tmp_path):
    for folder in ("cat", "dog", name):
        picture(tmp_path / folder / "a.png")
    source = open_source("folder", tmp_path, split="train")
    assert (source.class_names, len(source)) == (("cat", "dog"), 2)
    assert source.remarks == (f"left out: 1 hidden folders or folders of the system (first {name})",)


def test_ordinary_names_are_classes():
    assert not any(map(is_system_folder, ("cat", "lost", "_", "MACOSX", "pycache", "1")))


@pytest.mark.parametrize("ending", ["jpg", "JPG", "jpeg", "jpe", "jfif", "JFIF", "png", "bmp", "dib", "tif", "tiff"])
def test_endings_of_pictures(ending, tmp_path):
    (tmp_path / f"a.{ending}").touch()
    assert picture_names(tmp_path) == [f"a.{ending}"]


@pytest.mark.parametrize(("form", "is_one"), [("JPEG", 1), ("PNG", 1), ("BMP", 1), ("TIFF", 1), ("PPM", 0)])
def test_a_file_without_an_ending_is_a_picture_if_it_begins_as_one(form, is_one, tmp_path):
    picture(tmp_path / "IMG_0001", form)
    (tmp_path / "README").write_text("not one")
    os.mkfifo(tmp_path / "pipe")
    assert picture_names(tmp_path) == ["IMG_0001"] * is_one


def test_what_is_left_out_is_counted_with_an_example(tmp_path, capsys):
    for name in ("cat/a.jpg", "dog/b.png", "cat/2019/c.jpg", "cat/2019/may/d.jpg", "e.jpg", "cat/.f.jpg"):
        picture(tmp_path / name)
    (tmp_path / "dog/notes.txt").touch()
    for name in ("cat/Thumbs.db", "cat/.DS_Store", "dog/desktop.ini", "dog/._b.png"):
        (tmp_path / name).touch()
    (tmp_path / "emu").mkdir()
    describe(open_source("folder", tmp_path, split="train"), "train")
    (line,) = capsys.readouterr().out.splitlines()
    head, *parts = line.split(":WARNING:")[1].split("; ")
    assert head == f"training data {tmp_path}: 2 pictures of 2 classes, 1 in each class"
    assert parts[0] == "1 classes without a picture: 'emu'"
    assert (
        sorted(parts[1].removeprefix("left out: ").split(", "))
        == [
            "1 files that are no pictures (first dog/notes.txt)",
            "1 hidden pictures (first cat/.f.jpg)",
            "1 pictures beside the class folders (first e.jpg)",
            "2 pictures in folders inside class folders (first cat/2019/c.jpg)",
        ]
        or "2 pictures in folders inside class folders (first cat/2019/may/d.jpg)" in parts[1]
    )


def test_sound_data_are_one_line_with_the_least_and_the_most(tmp_path, capsys):
    for name in ("cat/a.jpg", "dog/b.png", "cat/c.jpg", "cat/d.jpg"):
        picture(tmp_path / name)
    describe(open_source("folder", tmp_path, split="eval"), "eval")
    assert capsys.readouterr().out.split(":INFO:")[1] == (
        f"held-out data {tmp_path}: 4 pictures of 2 classes, 1 ('dog') to 3 ('cat') in each class\n"
    )


def test_the_folder_above_is_not_taken_for_the_data(tmp_path):
    picture(tmp_path / "train/cat/a.jpg")
    with pytest.raises(ReportedError, match=r"one folder deeper, as train/cat/a\.jpg: give the folder above those"):
        open_source("folder", tmp_path, split="train")


@pytest.mark.parametrize("ending", ["webp", "gif", "heic", "avif", "WEBP"])
@pytest.mark.parametrize("dataset", ["folder", "list"])
def test_pictures_that_cannot_be_decoded_are_refused_when_the_data_are_opened(ending, dataset, tmp_path):
    picture(tmp_path / "cat/a.png")
    picture(tmp_path / f"cat/b.{ending}", "GIF")
    (tmp_path / "l.txt").write_text(f"cat/a.png 0\ncat/b.{ending} 0\n")
    path = tmp_path / "l.txt" if dataset == "list" else tmp_path
    how = {"split": "train", "workers": 1, "folder": tmp_path}
    with pytest.raises(
        ReportedError, match=rf"1 of 2 pictures of .* cannot be decoded .*, first .*cat/b\.{ending}; conv"
    ):
        open_usable(dataset, str(path), on_bad_image="error", **how)
    assert len(open_usable(dataset, str(path), on_bad_image="skip", **how)) == 1


def test_a_list_that_counts_from_one_is_said_to(tmp_path, capsys):
    picture(tmp_path / "a.png")
    (tmp_path / "l.txt").write_text("a.png 1\na.png 2\n")
    describe(open_source("list", tmp_path / "l.txt", split="train"), "train")
    line = capsys.readouterr().out
    assert "1 classes without a picture: '0'" in line
    assert "no picture for the labels below 1, which are classes too: labels count from 0" in line


@pytest.mark.slow
def test_a_file_without_an_ending_that_cannot_be_read_is_listed_so_that_its_reader_says_so(tmp_path, monkeypatch):
    """It was counted as no picture, and the class went on without it."""
    picture(tmp_path / "IMG_0001", "PNG")

    def refuse(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(listing, "open", refuse, raising=False)  # not pytest's own
    assert picture_names(tmp_path) == ["IMG_0001"]
