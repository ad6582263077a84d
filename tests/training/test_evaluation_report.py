"""The tables and the picture of an evaluation."""

import csv

import numpy as np
import pytest
from PIL import Image

from src.training.evaluation_report import Predictions, write_report
from src.utils.accuracy import Accuracy


def read(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


@pytest.fixture
def accuracy():
    """Of class a two of three are right, of b the only one, of c there is none."""
    found = Accuracy(3)
    found.update(np.eye(3, dtype=np.float32)[[0, 0, 1, 1]], np.array([0, 0, 0, 1]))
    return found


def test_tables(accuracy, tmp_path):
    write_report(accuracy, ["a", 'b, "quoted"', "c"], tmp_path)
    assert read(tmp_path / "confusion_matrix.csv") == [
        ["true \\ predicted", "a", 'b, "quoted"', "c"],
        ["a", "2", "1", "0"],
        ['b, "quoted"', "0", "1", "0"],
        ["c", "0", "0", "0"],
    ]
    header, first, second, third = read(tmp_path / "per_class_accuracy.csv")
    assert header == ["class", "images", "correct", "recall", "precision", "f1"]
    assert first[:3] == ["a", "3", "2"]
    assert [float(value) for value in first[3:]] == [2 / 3, 1.0, 4 / 5]
    assert second[1:5] == ["1", "1", "1.0", "0.5"]
    assert third[1:] == ["0", "0", "nan", "nan", "nan"]


@pytest.mark.parametrize("classes", [3, 100])
def test_the_picture_opens_for_few_and_for_many_classes(classes, tmp_path):
    accuracy = Accuracy(classes)
    accuracy.update(np.eye(classes, dtype=np.float32), np.arange(classes))
    write_report(accuracy, [f"class {i}" for i in range(classes)], tmp_path)
    with Image.open(tmp_path / "confusion_matrix.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    dark = (pixels == (8, 48, 107)).all(-1).sum()  # the colour of a share of 1
    assert dark > 50 * classes


def test_predictions_rank_five_classes_with_their_probabilities(tmp_path):
    predictions = Predictions([f"c{i}" for i in range(7)])
    logits = np.log(np.array([[1, 2, 3, 4, 5, 6, 7], [9, 1, 1, 1, 1, 1, 1]], np.float32))
    predictions.add(["a.jpg", "dir/b c.jpg"], np.array([6, 2]), logits)
    predictions.write(tmp_path / "p.csv")
    header, first, second = read(tmp_path / "p.csv")
    assert header == ["image", "label", *(f"top{i}" for i in range(1, 6)), *(f"probability{i}" for i in range(1, 6))]
    assert first[:7] == ["a.jpg", "c6", "c6", "c5", "c4", "c3", "c2"]
    np.testing.assert_allclose([float(p) for p in first[7:]], np.array([7, 6, 5, 4, 3]) / 28, atol=1e-6)
    assert second[:7] == ["dir/b c.jpg", "c2", "c0", "c1", "c2", "c3", "c4"]
    assert second[7:9] == ["0.600000", "0.066667"]


def test_predictions_of_two_classes_have_two_places_and_large_logits_do_not_overflow(tmp_path):
    predictions = Predictions(["no", "yes"])
    predictions.add(["a"], np.array([1]), np.array([[0.0, 1e4]], np.float32))
    predictions.write(tmp_path / "p.csv")
    assert read(tmp_path / "p.csv") == [
        ["image", "label", "top1", "top2", "probability1", "probability2"],
        ["a", "yes", "yes", "no", "1.000000", "0.000000"],
    ]
