"""Holding out a share of one data set: stratified, groups kept together, a function of contents and seed alone.

Names and places of files, their order and the number of threads change nothing: what is the same picture is on the same
side on every machine.
"""

import itertools

import numpy as np

_TO_FIRST_HALF = np.uint64(0x9E3779B97F4A7C15)


def hold_out(
    labels: np.ndarray, contents: np.ndarray, groups: np.ndarray | None, share: float, seed: int
) -> np.ndarray:
    """Return which pictures are held out, bool (n,).

    labels: (n,) classes, or (n, K) with 1 where a picture shows a class. contents: (n,) uint64, equal for equal
    pictures, which stay together. groups: (n,) integers, pictures of one number stay together, those of -1 are free.

    Of each class as near to `share` as whole groups allow, but one picture at least on both sides where that can be;
    pictures of no class are a class of their own. After Sechidis et al. 2011 (stratification of multi-label data), with
    one pass over the groups in an order that is a hash of contents and seed.
    """
    units = _units(contents, groups)
    count = int(units.max(initial=-1)) + 1
    pictures, strata = _strata(labels)
    total = np.bincount(strata)
    cells, numbers = np.unique(units[pictures] * len(total) + strata, return_counts=True)
    owners, of = np.divmod(cells, len(total))
    starts = np.searchsorted(owners, np.arange(count + 1))
    parts = [
        list(zip(of[a:b].tolist(), numbers[a:b].tolist(), strict=True)) for a, b in itertools.pairwise(starts.tolist())
    ]
    order = _order(units, contents, count, seed)
    chosen = _choose(parts, order, total.tolist(), share)
    return chosen[units]


def _choose(parts: list, order: np.ndarray, total: list[int], share: float) -> np.ndarray:
    """parts: for each unit its (stratum, pictures) pairs. Return which units are held out, bool."""
    target = [min(max(round(share * n), 1), n - 1) if n else 0 for n in total]
    held, chosen = [0] * len(total), np.zeros(len(parts), bool)

    def take(unit: int) -> None:
        chosen[unit] = True
        for stratum, number in parts[unit]:
            held[stratum] += number

    def leaves_some(unit: int) -> bool:
        return all(held[stratum] + number < total[stratum] for stratum, number in parts[unit])

    for unit in order.tolist():
        gain = 0.0
        for stratum, number in parts[unit]:
            missing = target[stratum] - held[stratum]
            gain += (missing * missing - (missing - number) ** 2) / max(target[stratum], 1)
        if gain > 0 and leaves_some(unit):
            take(unit)
    for stratum, number in enumerate(total):  # what only large groups have
        if number > 1 and held[stratum] == 0:
            fit = [u for u in order.tolist() if any(s == stratum for s, _ in parts[u]) and leaves_some(u)]
            if fit:
                take(min(fit, key=lambda u: sum(n for _, n in parts[u])))
    return chosen


def _units(contents: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Number the sets of pictures that cannot be parted, int64 (n,): equal contents, one group, or both in turn."""
    _, same = np.unique(contents, return_inverse=True)
    if groups is None or not len(contents):
        return same
    _, group = np.unique(np.where(groups < 0, -1 - np.arange(len(groups)), groups), return_inverse=True)
    unit = same
    while True:
        smaller = unit
        for key in (group, same):
            least = np.full(key.max() + 1, len(key))
            np.minimum.at(least, key, smaller)
            smaller = least[key]
        if (smaller == unit).all():
            return np.unique(unit, return_inverse=True)[1]
        unit = smaller


def _strata(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of a picture and a class that it shows; of several labels, one class more for pictures that show none, and
    one of all pictures: the classes' shares alone would take too many, as each is reached by way of other ones.
    """
    if labels.ndim == 1:
        return np.arange(len(labels)), labels.astype(np.int64)
    pictures, classes = np.nonzero(labels == 1)
    none = np.flatnonzero(~(labels == 1).any(1))
    last = labels.shape[1]
    every = np.arange(len(labels))
    numbers = [classes, np.full(len(none), last), np.full(len(every), last + 1)]
    return np.concatenate([pictures, none, every]), np.concatenate(numbers)


def _order(units: np.ndarray, contents: np.ndarray, count: int, seed: int) -> np.ndarray:
    """A permutation of the units that depends on their contents and the seed only: Steele's splitmix64 of both."""
    least = np.full(count, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(least, units, contents)
    with np.errstate(over="ignore"):
        mixed = least + _TO_FIRST_HALF * np.uint64(seed + 1)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.lexsort([least, mixed ^ (mixed >> np.uint64(31))])
