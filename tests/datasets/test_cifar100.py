"""CIFAR-100's binary files: which of the two labels counts, names, and what is turned down."""

import numpy as np
import pytest

from src.datasets.check import guess_dataset
from src.datasets.cifar100 import CIFAR100
from src.datasets.preprocessing import default_preprocessing
from src.datasets.sources import open_source
from src.model_utils.config import parse
from src.utils.errors import ReportedError


@pytest.fixture
def folder(tmp_path, cifar_records):
    """A cifar-100-binary with 40 training and 20 test records; a digit d is the fine class 11 * d, the coarse d."""
    pictures, digits = cifar_records
    rows = pictures.transpose(0, 3, 1, 2).reshape(len(pictures), -1)
    records = np.concatenate([digits[:, None], 11 * digits[:, None], rows], axis=1).astype(np.uint8)
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    (folder / "train.bin").write_bytes(records[:40].tobytes())
    (folder / "test.bin").write_bytes(records[40:].tobytes())
    return folder


def test_the_fine_labels_and_all_pixels_are_read(folder, cifar_records):
    pictures, digits = cifar_records
    for path in (folder, folder.parent):
        train, held_out = (open_source("cifar100", path, split=split) for split in ("train", "eval"))
        assert (len(train), len(held_out), train.dataset) == (40, 20, "cifar100")
        np.testing.assert_array_equal(train.labels, 11 * digits[:40])
        np.testing.assert_array_equal([held_out.read(i) for i in range(20)], pictures[40:])
    assert train.image_name(7) == "train.bin[7]"
    assert [train.class_names[i] for i in (0, 11, 99)] == ["apple", "boy", "worm"]
    assert len(set(train.class_names)) == 100


def test_names_come_from_the_file_of_the_fine_ones(folder):
    (folder / "fine_label_names.txt").write_text("".join(f"class {k}\n" for k in range(100)))
    (folder / "coarse_label_names.txt").write_text("".join(f"group {k}\n" for k in range(20)))
    assert open_source("cifar100", folder, split="train").class_names[42] == "class 42"


def test_what_is_no_cifar_100_is_said_and_what_it_looks_like(folder, cifar_folder):
    (folder / "test.bin").write_bytes((folder / "test.bin").read_bytes()[:-1])
    with pytest.raises(ReportedError, match=r"test\.bin has 61479 bytes, not whole records of 3074 .* not CIFAR-100"):
        open_source("cifar100", folder, split="eval")
    data = bytearray((folder / "train.bin").read_bytes())
    data[3 * 3074 + 1] = 100
    (folder / "train.bin").write_bytes(data)
    with pytest.raises(ReportedError, match=r"has the label 100 in record 3; expected 0 to 99, so this is not CIFAR-1"):
        open_source("cifar100", folder, split="train")
    with pytest.raises(ReportedError, match=r"holds no train\.bin; expected .* CIFAR-100.*it looks like .*CIFAR-10's"):
        open_source("cifar100", cifar_folder, split="train")
    with pytest.raises(ReportedError, match=r"holds no data_batch.*it looks like .*: give --dataset cifar100"):
        open_source("cifar10", folder, split="train")
    assert guess_dataset(str(folder)) == guess_dataset(str(folder.parent / CIFAR100.folder)) == "cifar100"


def test_a_hundred_classes_of_32_pixels_are_its_usual():
    config = parse("train", ["--net", "densenet100", "--dataset", "cifar100", "--train_data_dir", "x"])
    preprocessing = default_preprocessing("cifar100", **config.geometry())
    assert (config.num_classes, preprocessing.image_size, preprocessing.resize) == (0, 32, 0)
    assert preprocessing.mean == pytest.approx((0.507, 0.487, 0.441), abs=1e-3)
