"""The labels of millions of pictures by name, in little memory."""

import os
from array import array
from collections.abc import Iterator, Mapping

import numpy as np

from src.datasets.packed_names import PackedNames

HASH_BITS = 2**32 - 1


class LabelTable(Mapping[str, int]):
    """Name to label: names in one buffer, found by their hashes, instead of an object for each."""

    def __init__(self, names: PackedNames, labels: array, hashes: array) -> None:
        """labels: int32, hashes: the HASH_BITS of `hash` of each name's bytes, uint32."""
        self._names = names
        self._labels = np.frombuffer(labels, np.int32)
        self._hashes = np.frombuffer(hashes, np.uint32)
        self._order = np.argsort(self._hashes, kind="stable").astype(np.int32)
        self._hashes = self._hashes[self._order]

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __getitem__(self, name: str) -> int:
        raw = os.fsencode(name)
        wanted = np.uint32(hash(raw) & HASH_BITS)
        place = int(np.searchsorted(self._hashes, wanted))
        while place < len(self._order) and self._hashes[place] == wanted:
            if self._names.raw(int(self._order[place])) == raw:
                return int(self._labels[self._order[place]])
            place += 1
        raise KeyError(name)

    def first_repeated(self) -> int | None:
        """The number of the first entry whose name an earlier one has."""
        found = []
        for place in np.flatnonzero(self._hashes[1:] == self._hashes[:-1]) + 1:
            here = int(self._order[place])
            earlier = place - 1
            while earlier >= 0 and self._hashes[earlier] == self._hashes[place]:
                if self._names.raw(int(self._order[earlier])) == self._names.raw(here):
                    found.append(here)
                    break
                earlier -= 1
        return min(found, default=None)
