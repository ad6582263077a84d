"""Millions of file names in little memory: one after another in one buffer, instead of an object each."""

import os
from array import array
from collections.abc import Iterable, Sequence

import numpy as np

_FLUSH = 2**16  # names; small enough to be no matter, large enough that flushing costs nothing


class PackedNames(Sequence[str]):
    """A sequence of names that takes their bytes and eight more for each. Grows with `extend`."""

    def __init__(self, names: Iterable[bytes] = ()) -> None:
        self._bytes = bytearray()
        self._ends = array("q")
        self.extend(names)

    def extend(self, names: Iterable[bytes]) -> None:
        """Add names as the file system spells them."""
        waiting: list[bytes] = []
        for name in names:
            waiting.append(name)
            if len(waiting) == _FLUSH:
                self._flush(waiting)
                waiting = []
        self._flush(waiting)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, i: int) -> str:
        """Name number `i`, from 0 (a slice is not offered)."""
        return os.fsdecode(self.raw(i))

    def raw(self, i: int) -> bytes:
        """Name number `i`, from 0, as bytes."""
        if not 0 <= i < len(self._ends):
            raise IndexError(i)
        return bytes(self._bytes[self._ends[i - 1] if i else 0 : self._ends[i]])

    def buffers(self) -> tuple[memoryview, memoryview]:
        """All bytes, and where each name ends: what tells one sequence from any other."""
        return memoryview(self._bytes), memoryview(self._ends).cast("B")

    def _flush(self, names: list[bytes]) -> None:
        lengths = np.fromiter(map(len, names), np.int64, len(names))
        self._ends.frombytes((len(self._bytes) + np.cumsum(lengths)).tobytes())
        self._bytes += b"".join(names)
