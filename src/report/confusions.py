"""Which classes a network takes for which others."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from src.utils.accuracy import Accuracy

MOST_CLUSTERED = 1500  # the time grows with the square


@dataclass(frozen=True)
class Pair:
    """Images of one class that were taken for another: how many, and which share of their class."""

    true: int
    answer: int
    images: int
    share: float


def worst_pairs(accuracy: Accuracy, count: int) -> list[Pair]:
    """The `count` most frequent confusions, the most frequent first."""
    cells = accuracy.cells
    images = np.zeros(accuracy.num_classes, np.int64)
    np.add.at(images, cells[:, 0], cells[:, 2])
    wrong = cells[cells[:, 0] != cells[:, 1]]
    order = np.lexsort((wrong[:, 1], wrong[:, 0], -wrong[:, 2]))[:count]
    return [Pair(int(t), int(a), int(n), float(n / images[t])) for t, a, n in wrong[order]]


def shares(accuracy: Accuracy) -> np.ndarray:
    """The confusion matrix with each row divided by its images, float64 (num_classes, num_classes)."""
    matrix = accuracy.confusion.astype(np.float64)
    return matrix / np.maximum(matrix.sum(1, keepdims=True), 1)


def cluster_order(share: np.ndarray) -> np.ndarray:
    """An order of the classes, (num_classes,), in which those that are taken for each other are neighbours.

    Average linkage of what two classes exchange, by their `shares`; of fewer than three classes their own order.
    """
    if len(share) < 3:
        return np.arange(len(share))
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    exchanged = share + share.T
    np.fill_diagonal(exchanged, 0)
    distance = 1 - exchanged / max(float(exchanged.max()), 1e-12)
    np.fill_diagonal(distance, 0)
    return leaves_list(linkage(squareform(distance, checks=False), "average"))


def groups(share: np.ndarray, order: Sequence[int], least: float = 0.1) -> list[list[int]]:
    """Neighbours in `order` that exchange at least the share `least` of their images: groups of two and more."""
    found, current = [], [int(order[0])]
    for one in map(int, order[1:]):
        if max(share[one, other] + share[other, one] for other in current) >= least:
            current.append(one)
        else:
            found.append(current)
            current = [one]
    return [group for group in [*found, current] if len(group) > 1]
