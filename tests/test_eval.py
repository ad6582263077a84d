"""eval.py: exact counts for every batch size, and reports that agree with them."""

import csv
import shutil

import mindspore as ms
import numpy as np
import pytest
from commands import HELD_OUT_DIGITS, NETWORK, only, train_tiny, weights, write_pictures
from pictures import pictures
from PIL import Image

import eval as evaluation
from src.utils.accuracy import Accuracy


def evaluate(checkpoint, output, *flags) -> Accuracy:
    (accuracy,) = evaluation.main(
        ["--ckpt_files", str(checkpoint), "--save_ckpt_path", str(output), *map(str, flags)]
    ).values()
    return accuracy


def rows(path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def predicted_counts(table: list[list[str]]) -> dict[tuple[str, str], int]:
    """How often each (label, top1) occurs in a predictions file."""
    counts = {}
    for row in table[1:]:
        counts[row[1], row[2]] = counts.get((row[1], row[2]), 0) + 1
    return counts


@pytest.fixture(scope="module")
def reported(trained_run, tmp_path_factory):
    """(accuracy, folder of results, predictions) of the best checkpoint, evaluated without any further flag."""
    output = tmp_path_factory.mktemp("evaluated")
    predictions = output / "predictions.csv"
    with pictures():
        accuracy = evaluate(trained_run / "best.ckpt", output, "--predictions", predictions)
    return accuracy, only(output), rows(predictions)


@pytest.mark.slow
def test_checkpoint_answers_all_questions(reported, trained_run):
    """The same count as training logged for this checkpoint, with no flag but the file's name."""
    accuracy, folder, _ = reported
    assert accuracy.seen == HELD_OUT_DIGITS
    best = max(float(row[7]) for row in rows(trained_run / "metrics.csv")[1:])
    assert accuracy.top1 == best
    line = f"top1_correct={accuracy.top1_correct}, tot={HELD_OUT_DIGITS}, acc={100 * accuracy.top1:.2f}%"
    log = (folder / "eval.log").read_text()
    assert f":INFO:after allreduce eval: {line}\n" in log
    assert "top5" not in log  # ten classes


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 7, 64, 355, 400])
def test_counts_do_not_depend_on_the_batch_size(batch_size, reported, trained_run, tmp_path):
    accuracy = evaluate(trained_run / "best.ckpt", tmp_path, "--per_batch_size", batch_size)
    np.testing.assert_array_equal(accuracy.confusion, reported[0].confusion)
    assert accuracy.seen == HELD_OUT_DIGITS


def test_confusion_matrix(reported):
    accuracy, folder, _ = reported
    table = rows(folder / "confusion_matrix.csv")
    digits = [str(digit) for digit in range(10)]
    assert table[0] == ["true \\ predicted", *digits]
    assert [row[0] for row in table[1:]] == digits
    np.testing.assert_array_equal([[int(count) for count in row[1:]] for row in table[1:]], accuracy.confusion)
    with Image.open(folder / "confusion_matrix.png") as picture:
        assert min(picture.size) > 300


def test_per_class_accuracy(reported):
    accuracy, folder, _ = reported
    header, *table = rows(folder / "per_class_accuracy.csv")
    assert header == ["class", "images", "correct", "recall", "precision", "f1"]
    assert sum(int(row[1]) for row in table) == HELD_OUT_DIGITS
    assert sum(int(row[2]) for row in table) == accuracy.top1_correct
    for row, counts, own in zip(table, accuracy.confusion, np.diag(accuracy.confusion), strict=True):
        assert int(row[1]) == counts.sum()
        assert int(row[2]) == own
        assert float(row[3]) == own / counts.sum()


def test_predictions(reported):
    accuracy, _, table = reported
    assert table[0] == ["image", "label", *(f"top{r}" for r in range(1, 6)), *(f"probability{r}" for r in range(1, 6))]
    assert len(table) == 1 + HELD_OUT_DIGITS
    assert len({row[0] for row in table}) == len(table)  # every image once
    probabilities = np.array([row[7:] for row in table[1:]], float)
    assert (np.diff(probabilities) <= 0).all()
    assert (probabilities.sum(1) <= 1 + 1e-5).all()
    assert (probabilities[:, 0] > 0.1).all()
    assert all(len(set(row[2:7])) == 5 for row in table)
    assert predicted_counts(table) == {
        (str(true), str(guess)): count for (true, guess), count in np.ndenumerate(accuracy.confusion) if count
    }


@pytest.mark.slow
def test_a_folder_is_evaluated_newest_first(trained_run, tmp_path):
    results = evaluation.main(["--ckpt_files", str(trained_run), "--save_ckpt_path", str(tmp_path)])
    assert [path.rsplit("/", 1)[1] for path in results] == ["0-2_5.ckpt", "0-1_5.ckpt"]  # best is one of these
    log = (only(tmp_path) / "eval.log").read_text()
    assert log.count("after allreduce eval") == 2
    assert log.index("0-2_5.ckpt") < log.index("0-1_5.ckpt")
    for name, accuracy in zip(("0-2_5", "0-1_5"), results.values(), strict=True):
        table = rows(only(tmp_path) / name / "confusion_matrix.csv")
        np.testing.assert_array_equal([[int(count) for count in row[1:]] for row in table[1:]], accuracy.confusion)


@pytest.mark.slow
def test_best_is_evaluated_when_its_own_epoch_is_gone(trained_run, tmp_path):
    folder = shutil.copytree(trained_run, tmp_path / "run")
    for path in folder.glob("0-*.ckpt"):
        path.unlink()
    results = evaluation.main(["--ckpt_files", str(folder), "--save_ckpt_path", str(tmp_path / "out")])
    assert list(results) == [str(folder / "best.ckpt")]


@pytest.mark.slow
def test_checkpoint_without_metadata_as_the_model_zoo_writes_it(reported, trained_run, tmp_path):
    """Weights, the optimizer's state and nothing else: then flags describe the network, and the count is the same."""
    entries = [{"name": name, "data": ms.Tensor(value)} for name, value in weights(trained_run / "best.ckpt").items()]
    entries.append({"name": "learning_rate", "data": ms.Tensor(np.zeros(9, np.float32))})
    ms.save_checkpoint(entries, str(tmp_path / "zoo.ckpt"))
    flags = [*NETWORK, "--dataset", "digits", "--image_size", "8"]
    accuracy = evaluate(tmp_path / "zoo.ckpt", tmp_path / "out", *flags)
    np.testing.assert_array_equal(accuracy.confusion, reported[0].confusion)


@pytest.fixture(scope="module")
def pictures_run(tmp_path_factory):
    """(run folder, pictures) of a run on class folders."""
    root = tmp_path_factory.mktemp("pictures run")
    pictures = write_pictures(root / "pictures", ("one", "two", "zero"), each=6)
    flags = ["--dataset", "folder", "--train_data_dir", pictures, "--per_batch_size", 4]
    return train_tiny(root / "out", *flags), pictures


@pytest.mark.slow
def test_class_folders_are_matched_by_name(pictures_run, tmp_path):
    """A held-out folder that lacks a class: its pictures keep the labels of training."""
    run_folder, pictures = pictures_run
    shutil.copytree(pictures / "zero", tmp_path / "held out" / "zero")
    flags = ["--eval_data_dir", tmp_path / "held out", "--predictions", tmp_path / "p.csv"]
    accuracy = evaluate(run_folder / "0-1_4.ckpt", tmp_path / "out", *flags)
    assert accuracy.confusion.sum(1).tolist() == [0, 0, 6]
    table = rows(tmp_path / "p.csv")
    assert {row[1] for row in table[1:]} == {"zero"}
    assert table[0][2:] == ["top1", "top2", "top3", "probability1", "probability2", "probability3"]  # three classes
    per_class = rows(only(tmp_path / "out") / "per_class_accuracy.csv")
    assert per_class[1][:4] == ["one", "0", "0", "nan"]


@pytest.mark.slow
def test_bad_images_are_skipped(pictures_run, tmp_path):
    run_folder, pictures = pictures_run
    shutil.copytree(pictures, tmp_path / "held out")
    (tmp_path / "held out" / "two" / "3.jpg").write_text("not a picture")
    flags = ["--eval_data_dir", tmp_path / "held out", "--on_bad_image", "skip"]
    accuracy = evaluate(run_folder / "0-1_4.ckpt", tmp_path / "out", *flags)
    assert accuracy.confusion.sum(1).tolist() == [6, 5, 6]
    folder = only(tmp_path / "out")
    assert "1 of 18 eval images skipped" in (folder / "eval.log").read_text()
    assert "two/3.jpg" in (folder / "skipped_eval_images.txt").read_text()


@pytest.mark.slow
def test_top5_for_more_than_ten_classes(tmp_path):
    """Eleven outputs, of which the digits use ten."""
    run_folder = train_tiny(tmp_path / "train", "--num_classes", 11)
    accuracy = evaluate(run_folder / "0-1_5.ckpt", tmp_path / "eval", "--dataset", "digits")
    log = (only(tmp_path / "eval") / "eval.log").read_text()
    assert f"top5_correct={accuracy.top5_correct}, tot={HELD_OUT_DIGITS}, acc={100 * accuracy.top5:.2f}%" in log
    assert accuracy.top5_correct > accuracy.top1_correct
