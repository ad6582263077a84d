"""What tells one data set's files from another's, without reading all of them."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from src.datasets.packed_names import PackedNames
from src.utils.errors import ReportedError
from src.utils.files import NO_SUCH_FILE
from src.utils.shown import printable

SAMPLE = 32  # files, evenly over all, whose contents are looked at: a few milliseconds


def identity_of_files(folder: Path, names: PackedNames) -> bytes:
    """A hash of all names, relative to `folder`, in their order, and of the bytes of a sample of the files.

    Raises ReportedError for one that is there and cannot be read.
    """

    def content(i: int) -> bytes:
        try:
            return Path(folder, names[i]).read_bytes()
        except OSError as error:
            if error.errno in NO_SUCH_FILE:  # reported when the picture is read
                return b""
            # What it holds is not known: as if it were empty, a resumed run's own data would be others.
            raise ReportedError(f"{printable(folder / names[i])} cannot be read: {error.strerror}") from error

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
