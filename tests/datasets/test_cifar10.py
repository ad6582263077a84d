"""CIFAR-10's binary files: what is read from them, and which of them are turned down."""

import numpy as np
import pytest

from src.datasets.cifar10 import CLASS_NAMES
from src.datasets.sources import open_source
from src.utils.errors import ReportedError


def test_training_and_test_records_never_mix(cifar_folder, cifar_records):
    pictures, labels = cifar_records
    for path in (cifar_folder, cifar_folder.parent, str(cifar_folder)):
        train, held_out = (open_source("cifar10", path, split=split) for split in ("train", "eval"))
        assert (len(train), len(held_out)) == (37, 23)
        np.testing.assert_array_equal(train.labels, labels[:37])
        np.testing.assert_array_equal(held_out.labels, labels[37:])
        np.testing.assert_array_equal([train.read(i) for i in range(37)], pictures[:37])
        np.testing.assert_array_equal([held_out.read(i) for i in range(23)], pictures[37:])


def test_a_row_is_pixels_label_and_index(cifar_folder, cifar_records):
    pixels, label, index = open_source("cifar10", cifar_folder, split="train")[9]
    assert (pixels.shape, pixels.dtype, label.dtype, index.dtype, index) == (
        (32, 32, 3),
        np.uint8,
        np.int32,
        np.int32,
        9,
    )
    assert label == cifar_records[1][9]


def test_images_are_named_by_file_and_record(cifar_folder):
    source = open_source("cifar10", cifar_folder, split="train")
    assert [source.image_name(i) for i in (0, 6, 7, 36)] == [
        "data_batch_1.bin[0]",
        "data_batch_1.bin[6]",
        "data_batch_2.bin[0]",
        "data_batch_2.bin[29]",
    ]


def test_class_names_come_from_the_meta_file_when_there_is_one(cifar_folder):
    assert open_source("cifar10", cifar_folder, split="train").class_names == CLASS_NAMES
    (cifar_folder / "batches.meta.txt").write_text("".join(f"digit {d}\n" for d in range(10)) + "\n")
    assert open_source("cifar10", cifar_folder, split="train").class_names[3] == "digit 3"
    (cifar_folder / "batches.meta.txt").write_text("only\ntwo\n")
    with pytest.raises(ReportedError, match=r"batches\.meta\.txt should name 10 classes, one a line, found 2"):
        open_source("cifar10", cifar_folder, split="train")


def test_a_truncated_file_is_named(cifar_folder):
    file = cifar_folder / "data_batch_2.bin"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ReportedError, match=r"data_batch_2\.bin has 92189 bytes, not whole records of 3073"):
        open_source("cifar10", cifar_folder, split="train")
    assert len(open_source("cifar10", cifar_folder, split="eval")) == 23
    file.write_bytes(b"")
    with pytest.raises(ReportedError, match=r"data_batch_2\.bin has 0 bytes"):
        open_source("cifar10", cifar_folder, split="train")


def test_a_label_out_of_range_is_named_with_its_record(cifar_folder):
    file = cifar_folder / "test_batch.bin"
    data = bytearray(file.read_bytes())
    data[5 * 3073] = 10
    file.write_bytes(data)
    with pytest.raises(ReportedError, match=r"test_batch\.bin has the label 10 in record 5; expected 0 to 9"):
        open_source("cifar10", cifar_folder, split="eval")


def test_missing_files_and_folders(cifar_folder):
    (cifar_folder / "test_batch.bin").unlink()
    with pytest.raises(ReportedError, match=r"holds no test_batch\.bin; expected the binary version"):
        open_source("cifar10", cifar_folder, split="eval")
    with pytest.raises(ReportedError, match=r"nowhere is no folder"):
        open_source("cifar10", cifar_folder / "nowhere", split="eval")
    (cifar_folder / "test_batch.bin").mkdir()
    with pytest.raises(ReportedError, match=r"test_batch\.bin"):
        open_source("cifar10", cifar_folder, split="eval")
