"""Folders of class folders: classes by name, and what does not belong there."""

import os

import numpy as np
import pytest
from PIL import Image

from src.datasets.class_names import unnamed_classes
from src.datasets.sources import open_source
from src.utils.errors import ReportedError


@pytest.mark.parametrize("dataset", ["folder", "imagenet"])
def test_classes_and_images_are_in_the_order_of_their_names(photo_folder, photographs, dataset):
    source = open_source(dataset, photo_folder, split="train")
    assert source.class_names == ("empty", "flower", "temple 塔")
    assert source.labels.tolist() == [1] * 6 + [2] * 5
    assert source.labels.dtype == np.int32
    assert source.image_name(8) == f"{photo_folder}/temple 塔/temple 塔 2.png"
    with Image.open(source.image_name(8)) as image:
        np.testing.assert_array_equal(np.asarray(image), photographs[0][20:230, 40:314])
    assert source.read(8).tobytes() == (photo_folder / "temple 塔" / "temple 塔 2.png").read_bytes()


def test_a_network_s_class_names_decide_the_labels(photo_folder):
    names = ("temple 塔", "ship", "empty", "flower")
    source = open_source("folder", photo_folder, split="eval", class_names=names)
    assert source.class_names == names
    assert source.labels.tolist() == [3] * 6 + [0] * 5


def test_a_class_the_network_does_not_know_is_named(photo_folder):
    with pytest.raises(
        ReportedError,
        match=r"has 1 class folders that the network does not know, first 'temple 塔'; it knows 2",
    ):
        open_source("folder", photo_folder, split="eval", class_names=("flower", "empty"))


UNNAMED = ("class_0", "class_1", "class_2")


def test_a_network_of_unnamed_classes_takes_the_folders_in_order(photo_folder):
    source = open_source("folder", photo_folder, split="eval", class_names=UNNAMED)
    assert source.class_names == ("empty", "flower", "temple 塔")
    assert source.labels.tolist() == [1] * 6 + [2] * 5


@pytest.mark.parametrize("classes", [2, 4])
def test_a_network_of_unnamed_classes_has_to_have_as_many(classes, photo_folder):
    with pytest.raises(
        ReportedError, match=f"the data set folder has labels of 3 classes, but the network knows {classes}$"
    ):
        open_source("folder", photo_folder, split="eval", class_names=unnamed_classes(classes))


def test_folders_called_as_the_unnamed_classes_are_matched_by_name(photo_folder, tmp_path):
    for name in ("class_0", "class_2"):
        (tmp_path / name).symlink_to(photo_folder / "flower")
    source = open_source("folder", tmp_path, split="eval", class_names=UNNAMED)
    assert source.class_names == UNNAMED
    assert source.labels.tolist() == [0] * 6 + [2] * 6


def test_some_unnamed_classes_among_names_are_names(photo_folder):
    with pytest.raises(ReportedError, match="has 3 class folders that the network does not know, first 'empty'"):
        open_source("folder", photo_folder, split="eval", class_names=("class_0", "class_1", "cat"))


def test_folders_without_classes_or_pictures(tmp_path):
    with pytest.raises(ReportedError, match="has no class folders"):
        open_source("folder", tmp_path, split="train")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "picture.jpg").touch()
    with pytest.raises(ReportedError, match=r"the 2 class folders of .* hold no pictures \(\.jpg, "):
        open_source("folder", tmp_path, split="train")


def test_missing_folder_file_or_dangling_class(tmp_path):
    with pytest.raises(
        ReportedError, match="nowhere cannot be read: No such file or directory; expected a folder of class"
    ):
        open_source("folder", tmp_path / "nowhere", split="train")
    (tmp_path / "file").touch()
    with pytest.raises(ReportedError, match="file cannot be read: Not a directory"):
        open_source("folder", tmp_path / "file", split="train")


def test_links_are_followed_and_dangling_or_special_files_do_not_hang(photo_folder, tmp_path):
    inside = tmp_path / "data" / "class"
    inside.mkdir(parents=True)
    (tmp_path / "data" / "linked class").symlink_to(photo_folder / "flower")
    (inside / "dangling.jpg").symlink_to(tmp_path / "gone.jpg")
    os.mkfifo(inside / "pipe.jpg")
    (inside / "folder.jpg").mkdir()
    source = open_source("folder", tmp_path / "data", split="train")
    assert source.labels.tolist() == [0] + [1] * 6
    with pytest.raises(ReportedError, match=r"dangling\.jpg cannot be read: No such file"):
        source.read(0)


def test_names_that_are_no_utf8_can_be_printed(photo_folder, tmp_path):
    name = os.fsdecode(b"caf\xe9")
    (tmp_path / name).mkdir()
    (tmp_path / name / os.fsdecode(b"\xff\n.jpg")).symlink_to(photo_folder / "flower" / "flower 0.jpg")
    source = open_source("folder", tmp_path, split="train")
    assert source.class_names == ("caf\\xe9",)
    assert source.image_name(0) == f"{tmp_path}/caf\\xe9/\\xff?.jpg"
    assert source.read(0).tobytes()[:3] == b"\xff\xd8\xff"
