"""Which classes are confused, from matrices whose answer is known."""

import numpy as np
import pytest

from src.report.confusions import cluster_order, groups, shares, worst_pairs
from src.utils.accuracy import Accuracy


def accuracy_of(matrix) -> Accuracy:
    matrix = np.asarray(matrix)
    accuracy = Accuracy(len(matrix))
    rows = [(t, p, n) for (t, p), n in np.ndenumerate(matrix) if n]
    accuracy.set_counts(np.array([*rows, (len(matrix), 0, 0)], np.int64))
    return accuracy


def test_the_worst_pairs_come_first():
    pairs = worst_pairs(accuracy_of([[5, 3, 2], [0, 4, 0], [3, 1, 0]]), 3)
    assert [(p.true, p.answer, p.images, p.share) for p in pairs] == [
        (0, 1, 3, 0.3), (2, 0, 3, 0.75), (0, 2, 2, 0.2),
    ]  # fmt: skip
    assert worst_pairs(accuracy_of(np.eye(3, dtype=int)), 3) == []


def test_classes_without_images_have_no_share():
    np.testing.assert_array_equal(shares(accuracy_of([[2, 2], [0, 0]])), [[0.5, 0.5], [0, 0]])


@pytest.mark.parametrize("classes", [30, 200])
def test_classes_that_are_confused_become_neighbours(classes):
    """Groups of three that exchange images, scattered over the numbers."""
    order = np.random.default_rng(0).permutation(classes)[: classes // 3 * 3].reshape(-1, 3)
    matrix = np.eye(classes, dtype=int) * 10
    for group in order:
        matrix[np.ix_(group, group)] += 3
    share = shares(accuracy_of(matrix))
    found = cluster_order(share)
    assert sorted(found) == list(range(classes))
    assert sorted(sorted(group) for group in groups(share, found)) == sorted(sorted(g) for g in order.tolist())


@pytest.mark.parametrize("classes", [1, 2, 3, 2000])
def test_any_number_of_classes_has_an_order(classes):
    accuracy = Accuracy(classes)
    accuracy.update(np.eye(min(classes, 50), classes), np.arange(min(classes, 50)))
    share = shares(accuracy)
    assert sorted(cluster_order(share)) == list(range(classes))
    assert groups(share, cluster_order(share)) == []
