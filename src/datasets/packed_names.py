"""Millions of file names in little memory: one after another in a few buffers, instead of an object each."""

import itertools
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence

_BLOCK = 1024  # names in a buffer


class PackedNames(Sequence[str]):
    """A sequence of names that takes their bytes and four more for each. Grows with `extend`."""

    def __init__(self, names: Iterable[bytes] = ()) -> None:
        self._packed: list[tuple[bytes, array]] = []  # the names of a block, and where each ends
        self._rest: list[bytes] = []
        self.extend(names)

    def extend(self, names: Iterable[bytes]) -> None:
        """Add names as the file system spells them."""
        rest = [*self._rest, *names]
        whole = len(rest) - len(rest) % _BLOCK
        for start in range(0, whole, _BLOCK):
            block = rest[start : start + _BLOCK]
            self._packed.append((b"".join(block), array("I", itertools.accumulate(map(len, block)))))
        self._rest = rest[whole:]

    def __len__(self) -> int:
        return len(self._packed) * _BLOCK + len(self._rest)

    def __getitem__(self, i: int) -> str:
        """Name number `i`, from 0 (a slice is not offered)."""
        return os.fsdecode(self.raw(i))

    def raw(self, i: int) -> bytes:
        """Name number `i`, from 0, as bytes."""
        if not 0 <= i < len(self):
            raise IndexError(i)
        block, at = divmod(int(i), _BLOCK)
        if block == len(self._packed):
            return self._rest[at]
        names, ends = self._packed[block]
        return names[ends[at - 1] if at else 0 : ends[at]]

    def parts(self) -> Iterator[bytes]:
        """Bytes that tell the sequence from any other."""
        for names, ends in self._packed:
            yield names
            yield ends.tobytes()
        yield from self._rest
