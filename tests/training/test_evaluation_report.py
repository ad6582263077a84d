"""The tables and the picture of an evaluation."""

import csv

import numpy as np
import pytest
from PIL import Image

from src.training import evaluation_report
from src.training.evaluation_report import Predictions, write_report
from src.utils.accuracy import Accuracy
from src.utils.csv_text import cell_text
from src.utils.errors import ReportedError
from src.utils.files import make_folder

pytestmark = pytest.mark.usefixtures("drawn")


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


@pytest.mark.parametrize("name", ["cash_$_and_$_", "$\\frac{", "塔", "مرحبا", "=1+1"])
def test_any_class_name_is_drawn_without_a_warning(name, accuracy, tmp_path, recwarn):
    write_report(accuracy, [name, "b", "c"], tmp_path)
    with Image.open(tmp_path / "confusion_matrix.png") as picture:
        assert min(picture.size) > 200
    assert not recwarn.list
    assert cell_text(read(tmp_path / "per_class_accuracy.csv")[1][0]) == name
    assert cell_text(read(tmp_path / "confusion_matrix.csv")[0][1]) == name


def test_a_picture_that_fails_loses_no_table(accuracy, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(evaluation_report, "draw_confusion", lambda *_: 1 / 0)
    write_report(accuracy, ["a", "b", "c"], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"per_class_accuracy.csv", "confusion_matrix.csv"}
    assert "WARNING:confusion_matrix.png could not be drawn (ZeroDivisionError: division" in capsys.readouterr().out


def test_predictions_that_appeared_meanwhile_stay(tmp_path):
    (tmp_path / "p.csv").write_text("theirs")
    with pytest.raises(ReportedError, match=r"p\.csv appeared while this command worked and is not overwritten"):
        Predictions(["a", "b"]).write(tmp_path / "p.csv")
    assert (tmp_path / "p.csv").read_text() == "theirs"


def test_no_prediction_is_a_formula(tmp_path):
    predictions = Predictions(["-1", "@x"])
    predictions.add(["=cmd|' /C calc'!A0.png"], np.array([0]), np.array([[0.0, 1.0]], np.float32))
    predictions.write(tmp_path / "p.csv")
    row = read(tmp_path / "p.csv")[1]
    assert row[:4] == ["'=cmd|' /C calc'!A0.png", "'-1", "'@x", "'-1"]
    assert [cell_text(value) for value in row[:2]] == ["=cmd|' /C calc'!A0.png", "-1"]


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


def test_a_folder_for_a_report_that_cannot_be_made_is_told_in_a_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ReportedError, match=r"cannot create .*file/best: Not a directory; choose another folder"):
        make_folder(tmp_path / "file" / "best")
    make_folder(tmp_path / "results" / "best")
    make_folder(tmp_path / "results" / "best")
