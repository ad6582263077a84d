"""How well scores rank positives above negatives: exact, from the ranks of the scores, ties included."""

import numpy as np


def auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve: the share of pairs of a positive and a negative that the scores put in order, a tie
    being half a pair (Mann and Whitney 1947). nan unless there are both.

    scores: (n,) floats. positive: (n,) bool.
    """
    hits, misses, _ = _counts_from_the_top(scores, positive)
    if not len(hits) or hits[-1] == 0 or misses[-1] == 0:
        return float("nan")
    new_hits, new_misses = np.diff(hits, prepend=0), np.diff(misses, prepend=0)
    # Twice the area, in whole numbers: each new miss is below all earlier hits and beside the new ones.
    twice = sum(int(m) * (2 * int(h) - int(n)) for m, h, n in zip(new_misses, hits, new_hits, strict=True) if m)
    return twice / (2 * int(hits[-1]) * int(misses[-1]))


def average_precision(scores: np.ndarray, positive: np.ndarray) -> float:
    """The sum over thresholds of precision times the recall that is gained there; nan without a positive."""
    hits, misses, _ = _counts_from_the_top(scores, positive)
    if not len(hits) or hits[-1] == 0:
        return float("nan")
    return float((np.diff(hits, prepend=0) / hits[-1] * (hits / (hits + misses))).sum())


def f1(predicted: np.ndarray, positive: np.ndarray) -> float:
    """2 TP / (2 TP + FP + FN) of two (n,) bool arrays; 0 where that is 0 / 0."""
    return 2 * int((predicted & positive).sum()) / max(int(predicted.sum()) + int(positive.sum()), 1)


def best_threshold(scores: np.ndarray, positive: np.ndarray) -> float:
    """The score from which on a picture is called positive for the largest F1, the highest of equals; nan without a
    positive. It is halfway to the next lower score, so that rounding moves no picture across it.
    """
    hits, misses, values = _counts_from_the_top(scores, positive)
    if not len(hits) or hits[-1] == 0:
        return float("nan")
    best = int(np.argmax(2 * hits / (hits + misses + hits[-1])))
    below = values[best + 1] if best + 1 < len(values) else values[best] - 1.0
    return float((values[best] + below) / 2)


def _counts_from_the_top(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each different score, highest first: the positives and the negatives that reach it, and the score."""
    order = np.argsort(-scores.astype(np.float64), kind="stable")
    ranked, hit = scores[order].astype(np.float64), positive[order]
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1) if len(ranked) else np.zeros(0, np.int64)
    return np.cumsum(hit)[last], np.cumsum(~hit)[last], ranked[last]
