"""Pictures by their contents: which are the same ones, whatever they are called and wherever they lie."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from src.datasets.source import Source

MAX_COMPARED = (
    200_000  # pictures whose sizes are asked for before training; `python -m src.datasets.check` has no limit
)
MAX_READ = 20_000  # of them are read, because there is another one of the same size
_BLOCK = 256


def content_hashes(source: Source, workers: int, indices: np.ndarray | None = None) -> np.ndarray:
    """The first 8 bytes of the SHA-256 of each picture's content, uint64 (n,), or of those of `indices` only.

    Every file is read. Raises ReportedError that names one that cannot be read.
    """
    chosen = np.arange(len(source)) if indices is None else np.asarray(indices, np.int64)

    def of_block(start: int) -> list[int]:
        return [content_hash(source, int(i)) for i in chosen[start : start + _BLOCK]]

    with ThreadPoolExecutor(workers, "content hashes") as pool:
        blocks = pool.map(of_block, range(0, len(chosen), _BLOCK))
        return np.fromiter((one for block in blocks for one in block), np.uint64, len(chosen))


def content_hash(source: Source, i: int) -> int:
    """That of picture `i`."""
    data = source.content(i) if source.content else source.read(i).tobytes()
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "little")


def in_both(training: Source, held_out: Source, workers: int) -> np.ndarray | None:
    """The pictures of `held_out` whose content is in `training` too, int64 indices; None where that is too much to ask.

    Only pictures of a size that occurs on both sides are read. Raises ReportedError for one that cannot be read.
    """
    if len(training) + len(held_out) > MAX_COMPARED:
        return None
    sizes = [_sizes(source) for source in (training, held_out)]
    common = np.intersect1d(*sizes)
    common = common[common >= 0]
    mine, theirs = (np.flatnonzero(np.isin(found, common)) for found in sizes)
    if len(mine) + len(theirs) > MAX_READ and training.encoded:
        return None
    known = content_hashes(training, workers, mine)
    return theirs[np.isin(content_hashes(held_out, workers, theirs), known)]


def shared_groups(training: Source, held_out: Source) -> tuple[int, int]:
    """How many groups have pictures on both sides, and how many pictures of `held_out` are of these."""
    if training.groups is None or held_out.groups is None:
        return 0, 0
    shared = np.intersect1d(training.groups[training.groups >= 0], held_out.groups[held_out.groups >= 0])
    return len(shared), int(np.isin(held_out.groups, shared).sum())


def _sizes(source: Source) -> np.ndarray:
    if source.content_size is None:
        return np.zeros(len(source), np.int64)
    return np.fromiter(map(source.content_size, range(len(source))), np.int64, len(source))
