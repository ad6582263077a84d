"""Opening by name, the network's class names, and parts of a source."""

import numpy as np
import pytest

from src.datasets.sources import open_source
from src.utils.errors import ReportedError, UsageError


def test_unknown_names_and_missing_paths_are_usage_errors():
    with pytest.raises(
        UsageError, match="no data set 'mnist' with a part 'train'; choose from cifar10, imagenet, folder"
    ):
        open_source("mnist", "x", split="train")
    with pytest.raises(UsageError, match="no data set 'digits' with a part 'test'"):
        open_source("digits", "", split="test")
    with pytest.raises(UsageError, match="folder needs a path; give it with --eval_data_dir"):
        open_source("folder", "", split="eval")


def test_labels_of_digits_are_matched_by_name_whatever_the_order():
    own = open_source("digits", "", split="eval")
    names = tuple("9876543210")
    turned = open_source("digits", "", split="eval", class_names=names)
    assert turned.class_names == names
    assert turned.labels.tolist() == [9 - label for label in own.labels]
    with pytest.raises(ReportedError, match="the data set digits has 10 classes that the network does not know, first"):
        open_source("digits", "", split="eval", class_names=tuple("abcdefghij"))


def test_a_list_may_lack_the_network_s_last_classes(photo_folder, tmp_path):
    file = tmp_path / "list.txt"
    file.write_text(f"{photo_folder}/flower/flower 0.jpg 1\n")
    source = open_source("list", file, split="eval", class_names=("a", "b", "c"))
    assert source.class_names == ("a", "b", "c")
    assert source.guess.endswith("are taken for the numbers of the network's classes, counted from 0, which nothing "
                                 "confirms: 'a', 'b', 'c'")  # fmt: skip
    with pytest.raises(ReportedError, match=r"the data set list has labels of 2 classes, but the network knows 1"):
        open_source("list", file, split="eval", class_names=("a",))


def test_the_labels_of_a_list_are_names_where_the_network_s_names_are_numbers(photo_folder, tmp_path):
    """A network trained on folders 10, 9 and 2, in whatever order its outputs are."""
    file = tmp_path / "list.txt"
    file.write_text("".join(f"{photo_folder}/flower/flower {i}.jpg {label}\n" for i, label in enumerate((9, 10, 2))))
    source = open_source("list", file, split="eval", class_names=("10", "2", "9"))
    assert (source.labels.tolist(), source.guess) == ([2, 0, 1], "")
    with pytest.raises(ReportedError, match="has 1 classes that the network does not know, first '9'; it knows 2 cl"):
        open_source("list", file, split="eval", class_names=("10", "2"))


def test_a_subset_is_renumbered_and_can_be_cut_again(photo_folder):
    source = open_source("folder", photo_folder, split="train")
    part = source.subset(np.array([10, 0, 7])).subset(np.array([2, 0]))
    assert part.labels.tolist() == [source.labels[7], source.labels[10]]
    assert [part.image_name(i) for i in range(2)] == [source.image_name(7), source.image_name(10)]
    data, label, index = part[1]
    assert (data.tobytes(), label, index) == (source.read(10).tobytes(), source.labels[10], 1)


def test_data_of_another_kind_are_called_what_they_look_like(photo_folder, tmp_path):
    """The flag that was forgotten is named; a folder that is damaged, or nothing at all, is not taken for another."""
    (tmp_path / "list.txt").write_text(f"{photo_folder}/flower/flower 0.jpg 0\n")
    (tmp_path / "labels.csv").write_text("image,label\n")
    for name in ("cifar", "packed"):
        (tmp_path / name).mkdir()
    (tmp_path / "packed/index.npz").touch()
    (tmp_path / "cifar/data_batch_1.bin").write_bytes(bytes(3073))
    for dataset, path, end in (
        ("cifar10", photo_folder, "; it looks like a folder of class folders: give --dataset folder"),
        ("list", photo_folder, "; it looks like a folder of class folders: give --dataset folder"),
        ("folder", tmp_path / "labels.csv", "; it looks like a CSV file of pictures and labels: give --dataset csv"),
        (
            "folder",
            tmp_path / "packed",
            "; it looks like a folder that scripts/write_mindrecord.py has written: give --dataset mindrecord",
        ),
        ("imagenet", tmp_path / "list.txt", "; it looks like a text file of `path label` lines: give --dataset list"),
        (
            "folder",
            tmp_path / "cifar",
            "; it looks like the folder of CIFAR-10's binary version: give --dataset cifar10",
        ),
    ):
        with pytest.raises(ReportedError) as error:
            open_source(dataset, path, split="train")
        assert str(error.value).endswith(end)
    (tmp_path / "empty").mkdir()
    for dataset in ("cifar10", "list", "folder"):
        for path in (tmp_path / "empty", tmp_path / "nothing"):
            with pytest.raises(ReportedError) as error:
                open_source(dataset, path, split="train")
            assert "looks like" not in str(error.value)
    with pytest.raises(ReportedError, match=r"nothing cannot be read: No such file or directory; expected a folder of"):
        open_source("folder", tmp_path / "nothing", split="train")
