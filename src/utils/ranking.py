"""How well scores rank positives above negatives: exact, from the ranks of the scores, ties included."""

import numpy as np

_AT_ONCE = 2**18  # images of drawn sets that are ranked together: what stays near the processor


def auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve: the share of pairs of a positive and a negative that the scores put in order, a tie
    being half a pair (Mann and Whitney 1947). nan unless there are both.

    scores: (n,) floats. positive: (n,) bool.
    """
    hits, misses, _ = counts_from_the_top(scores, positive)
    if not len(hits) or hits[-1] == 0 or misses[-1] == 0:
        return float("nan")
    new_hits, new_misses = np.diff(hits, prepend=0), np.diff(misses, prepend=0)
    # Twice the area, in whole numbers: each new miss is below all earlier hits and beside the new ones.
    twice = sum(int(m) * (2 * int(h) - int(n)) for m, h, n in zip(new_misses, hits, new_hits, strict=True) if m)
    return twice / (2 * int(hits[-1]) * int(misses[-1]))


def average_precision(scores: np.ndarray, positive: np.ndarray) -> float:
    """The sum over thresholds of precision times the recall that is gained there; nan without a positive."""
    hits, misses, _ = counts_from_the_top(scores, positive)
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
    hits, misses, values = counts_from_the_top(scores, positive)
    if not len(hits) or hits[-1] == 0:
        return float("nan")
    best = int(np.argmax(2 * hits / (hits + misses + hits[-1])))
    below = values[best + 1] if best + 1 < len(values) else values[best] - 1.0
    return float((values[best] + below) / 2)


def counts_from_the_top(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each different score, highest first: the positives and the negatives that reach it, and the score."""
    order = np.argsort(-scores.astype(np.float64), kind="stable")
    ranked, hit = scores[order].astype(np.float64), positive[order]
    last = _ends_of_equals(ranked)
    return np.cumsum(hit)[last], np.cumsum(~hit)[last], ranked[last]


def auroc_interval(
    scores: np.ndarray, labels: np.ndarray, resamples: int = 1000, level: float = 0.95, seed: int = 1
) -> tuple[float, float]:
    """The percentile bootstrap's interval (Efron and Tibshirani 1993, section 13.3) of the mean AUROC over the classes:
    images are drawn with replacement, so that the classes of a picture stay together.

    scores: (n, K) floats. labels: (n, K), 1 for yes, 0 for no, -1 for unknown. nan when no class has both.
    """
    images, classes = scores.shape
    random = np.random.default_rng(seed)
    ranks = [_ranked(scores[:, k], labels[:, k]) for k in range(classes)]
    means, at_once = [], max(1, _AT_ONCE // max(images, 1))
    for first in range(0, resamples, at_once):
        draws = range(first, min(first + at_once, resamples))
        times = np.array([np.bincount(random.integers(0, images, images), minlength=images) for _ in draws])
        areas = np.stack([_areas(times, *ranked) for ranked in ranks], axis=1)
        means += [row[known].mean() for row, known in zip(areas, ~np.isnan(areas), strict=True) if known.any()]
    if not means:
        return float("nan"), float("nan")
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _ranked(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the known labels: where they are, highest score first; whether they are a yes; where each score ends."""
    known = np.flatnonzero(labels >= 0)
    order = known[np.argsort(-scores[known].astype(np.float64), kind="stable")]
    return order, labels[order] == 1, _ends_of_equals(scores[order])


def _ends_of_equals(ranked: np.ndarray) -> np.ndarray:
    """The last place of each run of equal numbers."""
    return np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1) if len(ranked) else np.zeros(0, np.int64)


def _areas(times: np.ndarray, order: np.ndarray, positive: np.ndarray, last: np.ndarray) -> np.ndarray:
    """(draws,): `auroc` of images that occur so many `times`, (draws, images)."""
    if not len(last):
        return np.full(len(times), np.nan)
    drawn = times[:, order]
    hits, misses = (np.cumsum(drawn * kind, axis=1)[:, last] for kind in (positive, ~positive))
    between = np.diff(misses, prepend=0) * (2 * hits - np.diff(hits, prepend=0))
    pairs = hits[:, -1] * misses[:, -1]
    return np.where(pairs > 0, between.sum(axis=1) / np.maximum(2 * pairs, 1), np.nan)
