"""The accumulator's counts, on examples small enough to count by hand."""

import math

import numpy as np
import pytest

from src.utils.accuracy import Accuracy, cross_entropy
from src.utils.errors import ReportedError


def counted(num_classes: int, logits, labels) -> Accuracy:
    accuracy = Accuracy(num_classes)
    accuracy.update(np.array(logits, np.float32), np.array(labels, np.int32))
    return accuracy


def test_counts_top1_top5_and_confusion():
    ramp = np.arange(12.0)  # class 11 first, then 10, 9, ...
    accuracy = counted(12, [ramp, ramp, ramp, ramp], [11, 10, 7, 6])
    assert (accuracy.seen, accuracy.top1_correct, accuracy.top5_correct) == (4, 1, 3)
    assert (accuracy.top1, accuracy.top5) == (0.25, 0.75)
    assert accuracy.confusion[[11, 10, 7, 6], 11].tolist() == [1, 1, 1, 1]
    assert accuracy.confusion.sum() == 4


def test_of_equal_logits_the_lower_class_ranks_first():
    accuracy = counted(12, np.zeros((12, 12)), range(12))
    assert accuracy.top1_correct == 1
    assert accuracy.top5_correct == 5


def test_top5_agrees_with_a_stable_sort_on_random_logits():
    random = np.random.default_rng(0)
    logits = random.integers(0, 6, (200, 15)).astype(np.float32)  # with many ties
    labels = random.integers(0, 15, 200)
    best = np.argsort(-logits, axis=1, kind="stable")[:, :5]
    accuracy = counted(15, logits, labels)
    assert accuracy.top5_correct == sum(label in row for label, row in zip(labels, best, strict=True))
    assert accuracy.top1_correct == (best[:, 0] == labels).sum()


def test_counts_of_two_ranks_add_up():
    first, second = counted(2, [[1, 0], [1, 0]], [0, 1]), counted(2, [[0, 1]], [1])
    first.set_counts(np.concatenate([first.counts(), second.counts()]))
    assert first.confusion.tolist() == [[1, 0], [1, 1]]
    assert (first.seen, first.top1_correct, first.top5_correct) == (3, 2, 3)


def test_lines_have_the_seeds_form_and_top5_above_ten_classes():
    assert counted(10, np.eye(10)[:3], [0, 1, 3]).lines() == ["after allreduce eval: top1_correct=2, tot=3, acc=66.67%"]
    assert counted(11, np.eye(11)[:3], [0, 1, 3]).lines() == [
        "after allreduce eval: top1_correct=2, tot=3, acc=66.67%",
        "after allreduce eval: top5_correct=3, tot=3, acc=100.00%",
    ]


def test_per_class_recall_precision_and_f1():
    accuracy = counted(3, np.eye(3)[[0, 0, 1, 0]], [0, 0, 0, 1])
    first, second, third = accuracy.per_class(["a", "b", "c"])
    assert first == {
        "class": "a", "images": 3, "correct": 2, "recall": 2 / 3, "precision": 2 / 3, "f1": 2 / 3,
    }  # fmt: skip
    assert (second["recall"], second["precision"], second["f1"]) == (0.0, 0.0, 0.0)
    assert third["images"] == 0
    assert math.isnan(third["recall"])


def test_nothing_seen_is_nan():
    assert math.isnan(Accuracy(3).top1)
    assert Accuracy(3).lines() == ["after allreduce eval: top1_correct=0, tot=0, acc=0.00%"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_an_error(value):
    with pytest.raises(ReportedError, match="not finite"):
        counted(2, [[0, value]], [0])


@pytest.mark.parametrize("label", [-1, 2])
def test_labels_out_of_range_are_an_error(label):
    with pytest.raises(ReportedError, match=r"a label is -?\d where the network has 2 classes"):
        counted(2, [[0, 1]], [label])


def test_logits_of_another_shape_are_a_bug():
    with pytest.raises(ValueError, match=r"shape \(1, 3\), expected \(1, 2\)"):
        counted(2, [[0, 1, 2]], [0])


def test_many_classes_take_no_memory_for_the_classes_that_did_not_occur():
    """A whole matrix of 100,000 classes would be 80 GB."""
    accuracy = Accuracy(100_000)
    logits = np.zeros((3, 100_000), np.float32)
    logits[[0, 1, 2], [99_999, 5, 99_999]] = 1
    for _ in range(2):
        accuracy.update(logits, np.array([99_999, 7, 5], np.int32))
    assert accuracy.cells.tolist() == [[5, 99_999, 2], [7, 5, 2], [99_999, 99_999, 2]]
    assert (accuracy.seen, accuracy.top1_correct) == (6, 2)
    assert len(accuracy.counts()) == 4, "what ranks exchange"
    rows = accuracy.per_class([str(i) for i in range(100_000)])
    assert [rows[i]["images"] for i in (5, 7, 99_999)] == [2, 2, 2]
    assert rows[99_999]["precision"] == 0.5


def test_cells_add_up_however_many_batches_there_are():
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(90_000, 4)).astype(np.float32), random.integers(0, 4, 90_000)
    accuracy = Accuracy(4)
    for part in np.split(np.arange(90_000), 9):
        accuracy.update(logits[part], labels[part])
    expected = np.zeros((4, 4), np.int64)
    np.add.at(expected, (labels, logits.argmax(1)), 1)
    assert accuracy.confusion.tolist() == expected.tolist()


def test_cross_entropy_of_large_logits_is_finite():
    logits = np.array([[1e4, 0.0], [-3e38, 3e38], [0.0, 0.0]], np.float32)
    np.testing.assert_allclose(cross_entropy(logits, np.array([1, 0, 1])), [1e4, 6e38, np.log(2)], rtol=1e-6)
