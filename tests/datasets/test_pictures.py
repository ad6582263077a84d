"""A user's own pictures: one file, or those directly in a folder."""

import os

import numpy as np
import pytest
from PIL import Image

from src.datasets.classification import evaluation_batches, usable_indices
from src.datasets.pictures import open_pictures
from src.datasets.preprocessing import default_preprocessing
from src.utils.errors import ReportedError


@pytest.fixture
def folder(tmp_path, photographs):
    """Two pictures, and what is none."""
    folder = tmp_path / "my pictures"
    (folder / "more").mkdir(parents=True)
    Image.fromarray(photographs[0]).save(folder / "temple 塔.JPG")
    Image.fromarray(photographs[1]).save(folder / "flower.png")
    Image.fromarray(photographs[1]).save(folder / "more" / "flower.png")
    (folder / "notes.txt").write_text("no picture")
    (folder / "._flower.png").write_bytes(b"macOS leaves such files")
    return folder


def names(source) -> list[str]:
    return [source.image_name(i) for i in range(len(source))]


def test_a_folder_s_own_pictures_in_the_order_of_their_names(folder):
    source = open_pictures(folder)
    assert names(source) == ["flower.png", "temple 塔.JPG"]
    assert source.labels.tolist() == [0, 0]
    assert source.class_names == ()
    assert source.read(1).tobytes() == (folder / "temple 塔.JPG").read_bytes()


def test_one_picture(folder):
    source = open_pictures(folder / "temple 塔.JPG")
    assert names(source) == ["temple 塔.JPG"]
    assert source.read(0).tobytes() == (folder / "temple 塔.JPG").read_bytes()


def test_they_go_through_the_evaluations_pipeline(folder):
    preprocessing = default_preprocessing("imagenet")
    ((images, _, indices),) = evaluation_batches(open_pictures(folder), preprocessing, batch_size=8, workers=1)
    assert (images.shape, images.dtype) == ((2, 3, 224, 224), np.float32)
    assert indices.tolist() == [0, 1]
    ((alone, *_),) = evaluation_batches(open_pictures(folder / "flower.png"), preprocessing, batch_size=8, workers=1)
    np.testing.assert_array_equal(alone[0], images[0])


def test_a_file_of_any_name_is_judged_by_its_contents(folder):
    (folder / "flower.png").rename(folder / "flower")
    assert usable_indices(open_pictures(folder / "flower"), 1)[1] == []
    with pytest.raises(ReportedError, match=r"notes\.txt should be a complete JPEG, .* found 10 bytes that cannot"):
        open_pictures(folder / "notes.txt").read(0)


def test_damaged_and_dangling_pictures_are_named_when_read(folder):
    (folder / "cut.jpg").write_bytes((folder / "temple 塔.JPG").read_bytes()[:500])
    (folder / "dangling.jpg").symlink_to("nowhere.jpg")
    source = open_pictures(folder)
    good, problems = usable_indices(source, 1)
    assert names(source.subset(good)) == ["flower.png", "temple 塔.JPG"]
    assert [problem.split("/")[-1] for problem in problems] == [
        "cut.jpg should be a complete JPEG, PNG, BMP or TIFF picture, found 500 bytes that cannot be decoded",
        "dangling.jpg cannot be read: No such file or directory",
    ]


def test_names_that_are_no_utf8_can_be_printed(folder):
    os.rename(folder / "flower.png", folder / os.fsdecode(b"\xff\n.png"))  # noqa: PTH104
    (folder / "temple 塔.JPG").unlink()
    assert names(open_pictures(folder)) == ["\\xff?.png"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none", "none cannot be read: No such file or directory; expected a picture or a folder of pictures"),
        ("x" * 300, "cannot be read: File name too long"),
        ("empty", "empty holds no pictures; expected them directly in it"),
        ("pipe.jpg", "pipe.jpg cannot be read: Not a directory"),
    ],
)
def test_no_pictures(path, message, tmp_path):
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ReportedError, match=message):
        open_pictures(tmp_path / path)
