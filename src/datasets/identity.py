"""What tells one data set's files from another's, without reading all of them."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from src.datasets.packed_names import PackedNames

SAMPLE = 32  # files, evenly over all, whose contents are looked at: a few milliseconds


def identity_of_files(folder: Path, names: PackedNames) -> bytes:
    """A hash of all names, relative to `folder`, in their order, and of the bytes of a sample of the files."""

    def content(i: int) -> bytes:
        try:
            return Path(folder, names[i]).read_bytes()
        except OSError:  # reported when the picture is read
            return b""

    return hash_of([hash_of(names.parts()), *sample(len(names), content)])


def sample(count: int, content: Callable[[int], bytes]) -> list[bytes]:
    """A hash of the `content` of each of SAMPLE out of `count` things."""
    chosen = np.unique(np.linspace(0, count - 1, SAMPLE).astype(np.int64)) if count else ()
    return [hash_of([content(int(i))]) for i in chosen]


def hash_of(parts: Iterable[bytes]) -> bytes:
    """SHA-256 over all parts, their lengths included."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()
