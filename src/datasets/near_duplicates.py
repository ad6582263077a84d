"""Pictures that look the same although their files differ: saved again, scaled, or slightly changed."""

import numpy as np

from src.datasets.look import Looks

MOST_BITS = 3  # in which two perceptual hashes may differ; then one of their four quarters is the same
MOST_DIFFERENCE = 6.0  # of two grey copies, the mean over their places, in levels of 256
_LARGEST_BUCKET = 2000  # pictures with one quarter of a hash; of more, neighbours in the hashes' order are compared
_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(1).astype(np.uint8)


def near_duplicates(looks: Looks) -> np.ndarray:
    """Pairs (i, j), i < j, int64 (m, 2), of usable pictures with other contents that look the same; each once, sorted.

    Candidates differ in at most MOST_BITS bits of their hashes; their small grey copies are then compared.
    """
    chosen = np.flatnonzero(looks.usable & (np.ptp(looks.thumbnails.reshape(len(looks.content), -1), axis=1) >= 8))
    pairs = [_candidates(looks.perceptual[chosen], quarter) for quarter in range(4)]
    found = np.unique(np.concatenate(pairs), axis=0) if pairs else np.zeros((0, 2), np.int64)
    found = np.sort(chosen[found], axis=1)
    found = found[looks.content[found[:, 0]] != looks.content[found[:, 1]]]
    kept = []
    for start in range(0, len(found), 65536):
        part = found[start : start + 65536]
        apart = _bits_apart(looks.perceptual[part[:, 0]], looks.perceptual[part[:, 1]])
        part = part[apart <= MOST_BITS]
        first, second = (looks.thumbnails[part[:, side]].astype(np.int16) for side in (0, 1))
        kept.append(part[np.abs(first - second).mean((1, 2)) <= MOST_DIFFERENCE])
    return np.unique(np.concatenate([np.zeros((0, 2), np.int64), *kept]), axis=0)


def _bits_apart(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """In how many bits each pair of hashes differs."""
    return _BITS[(first ^ second).view(np.uint8).reshape(-1, 8)].sum(1)


def _candidates(hashes: np.ndarray, quarter: int) -> np.ndarray:
    """Pairs of places in `hashes` with the same `quarter`, 16 of the 64 bits."""
    keys = (hashes >> np.uint64(16 * quarter)) & np.uint64(0xFFFF)
    order = np.lexsort([hashes, keys])
    ends = np.append(np.flatnonzero(np.diff(keys[order])) + 1, len(order))
    pairs, start = [np.zeros((0, 2), np.int64)], 0
    for end in ends.tolist():
        bucket = order[start:end]
        if 1 < len(bucket) <= _LARGEST_BUCKET:
            first, second = np.triu_indices(len(bucket), 1)
            near = _bits_apart(hashes[bucket[first]], hashes[bucket[second]]) <= MOST_BITS
            pairs.append(np.stack([bucket[first[near]], bucket[second[near]]], axis=1))
        elif len(bucket) > _LARGEST_BUCKET:
            for step in (1, 2, 3, 4):
                pairs.append(np.stack([bucket[:-step], bucket[step:]], axis=1))
        start = end
    return np.concatenate(pairs)
