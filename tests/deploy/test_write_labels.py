"""The label file of a tree of class folders."""

import os

import pytest
from commands import write_pictures

from src.deploy import write_labels
from src.deploy.labels import read_labels
from src.utils.errors import run


def unique_names(folder):
    for picture in list(folder.glob("*/*.jpg")):
        picture.rename(picture.with_name(f"{picture.parent.name} {picture.name}"))
    return folder


def test_classes_are_numbered_in_the_order_of_their_names(tmp_path, capsys):
    folder = unique_names(write_pictures(tmp_path / "my data", ("b", "a", "d:e"), 2))
    (folder / "c").mkdir()  # a class without pictures has its number all the same
    (folder / ".hidden").mkdir()
    (folder / "a" / "._a 0.jpg").write_bytes(b"")
    (folder / "a" / "notes.txt").write_text("no picture")
    (folder / "b" / "x:y.PNG").write_bytes(b"")
    (folder / "b" / " z.jpg").write_bytes(b"")
    labels = tmp_path / "my labels.txt"
    write_labels.main([str(folder), str(labels)])
    assert labels.read_text() == (
        "a 0.jpg:0\na 1.jpg:0\n z.jpg:1\nb 0.jpg:1\nb 1.jpg:1\nx:y.PNG:1\nd:e 0.jpg:3\nd:e 1.jpg:3\n"
    )
    assert capsys.readouterr().out == f"{labels}: 8 pictures of 3 classes\n"
    assert read_labels("folder", labels)["x:y"] == 1
    assert read_labels("folder", labels)["d:e 1"] == 3
    assert read_labels("folder", labels)[" z"] == 1


def test_names_that_class_folders_share_are_told_apart_by_their_class(tmp_path):
    folder = write_pictures(tmp_path / "camera", ("10", "2", "d:e"), 1)
    (folder / "2" / "b").write_bytes((folder / "2" / "0.jpg").read_bytes())
    labels = tmp_path / "labels.txt"
    write_labels.main([str(folder), str(labels)])
    assert labels.read_text() == "10/0.jpg:0\n2/0.jpg:1\n2/b:1\nd:e/0.jpg:2\n"
    assert dict(read_labels("folder", labels)) == {"10/0": 0, "2/0": 1, "2/b": 1, "d:e/0": 2}


def test_nothing_is_overwritten(tmp_path, capsys):
    folder = unique_names(write_pictures(tmp_path / "data", ("a", "b"), 1))
    labels = tmp_path / "labels.txt"
    labels.write_text("mine")
    assert run(write_labels.main, [str(folder), str(labels)]) == 2
    assert capsys.readouterr().err == f"error: {labels} exists and is not overwritten; choose another name\n"
    assert labels.read_text() == "mine"


def odd_name(folder):
    with open(os.fsencode(folder / "a") + b"/\xff.jpg", "wb"):  # noqa: PTH123
        pass


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda f: (f / "a/a 0.png").write_bytes(b""),
            "a/a 0.jpg and a/a 0.png, whose results would have the same name",
        ),
        (odd_name, r"the file a/\xff.jpg, whose name is not plain text; rename it"),
    ],
)
def test_pictures_that_would_have_no_result_of_their_own_are_reported(change, message, tmp_path, capsys):
    folder = unique_names(write_pictures(tmp_path / "data", ("a", "b"), 1))
    change(folder)
    assert run(write_labels.main, [str(folder), str(tmp_path / "labels.txt")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line
    assert not (tmp_path / "labels.txt").exists()


@pytest.mark.parametrize(
    "arguments, status, message",
    [
        ([], 2, "error: the following arguments are required: DATA_DIR, LABEL_FILE; --help shows the usage"),
        (["data"], 2, "error: the following arguments are required: LABEL_FILE; --help shows the usage"),
        (["none", "labels.txt"], 1, "error: none cannot be read: No such file or directory"),
        (["empty", "labels.txt"], 1, "error: empty has no class folders with pictures in them"),
    ],
)
def test_wrong_arguments_are_one_line(arguments, status, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert run(write_labels.main, arguments) == status
    assert capsys.readouterr().err.splitlines() == [message]
