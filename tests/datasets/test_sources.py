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


def test_numbered_classes_take_the_network_s_names():
    names = tuple("abcdefghij")
    assert open_source("digits", "", split="eval", class_names=names).class_names == names
    with pytest.raises(ReportedError, match="the data set digits has labels of 10 classes, but the network knows 9"):
        open_source("digits", "", split="eval", class_names=names[:9])
    with pytest.raises(ReportedError, match="the data set digits has labels of 10 classes, but the network knows 11"):
        open_source("digits", "", split="eval", class_names=(*names, "k"))


def test_a_list_may_lack_the_network_s_last_classes(photo_folder, tmp_path):
    file = tmp_path / "list.txt"
    file.write_text(f"{photo_folder}/flower/flower 0.jpg 1\n")
    assert open_source("list", file, split="eval", class_names=("a", "b", "c")).class_names == ("a", "b", "c")
    with pytest.raises(ReportedError, match="the data set list has labels of 2 classes, but the network knows 1"):
        open_source("list", file, split="eval", class_names=("a",))


def test_a_subset_is_renumbered_and_can_be_cut_again(photo_folder):
    source = open_source("folder", photo_folder, split="train")
    part = source.subset(np.array([10, 0, 7])).subset(np.array([2, 0]))
    assert part.labels.tolist() == [source.labels[7], source.labels[10]]
    assert [part.image_name(i) for i in range(2)] == [source.image_name(7), source.image_name(10)]
    data, label, index = part[1]
    assert (data.tobytes(), label, index) == (source.read(10).tobytes(), source.labels[10], 1)
