"""Encoded pictures on disk: each is read as a whole, checked when its bytes are seen for the first time, and named."""

import os
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from src.datasets.identity import hash_of
from src.datasets.image_check import MAX_FILE_BYTES, Form, UnusablePictureError, check_picture, decodable
from src.utils.byte_arrays import read_array
from src.utils.errors import ReportedError
from src.utils.files import NO_SUCH_FILE
from src.utils.outside import UnfitFileError
from src.utils.shown import printable

_BLOCK, _THREADS = 1024, 16  # files whose states are asked for together, and threads: of a network drive each waits
_NOTICED = {
    Form.BARE_CMYK: "are CMYK without Adobe's marker, which would say how their colours are stored: they are read "
    "inverted, as Adobe's programs, browsers and Pillow do",
    Form.DARK: "have 16 bits but values in their lowest quarter only, as of a camera with 12 bits: they come out "
    "nearly black; scale their values to 0...65535",
}


class UnreadableError(ReportedError):
    """A picture's file is there and cannot be read now: nobody knows whether it is sound."""


class ImageFiles:
    """Reads image `i` of `paths`, relative to `folder`. Safe to use from several threads.

    The bytes that are decoded are the bytes that were checked: a file that was changed in between is checked again.
    """

    def __init__(self, folder: Path, paths: Sequence[str]) -> None:
        self._folder = folder
        self._paths = paths
        self._forms = np.zeros(len(paths), np.uint8)
        self._checksums = np.zeros(len(paths), np.uint32)
        self._told: set[Form] = set()

    def name(self, i: int) -> str:
        """Return the file's path as it can be printed."""
        return printable(self._folder / self._paths[i])

    def __call__(self, i: int) -> np.ndarray:
        """Return what MindSpore decodes, uint8 (length,). Raises ReportedError, naming a file that cannot be used."""
        data = self._bytes(i)
        form, checksum = int(self._forms[i]), zlib.crc32(data)  # 0.05 ms for 100 kB
        if not form or self._checksums[i] != checksum:
            self._forms[i] = 0
            try:
                form = check_picture(data)
            except UnusablePictureError as error:
                raise ReportedError(f"{self.name(i)} {error}") from error
            self._checksums[i], self._forms[i] = checksum, form
        return data if form == Form.CHECKED else decodable(data, Form(form))

    def content(self, i: int) -> bytes:
        """Return the file as it is on disk. Raises ReportedError, naming a file that cannot be read."""
        return self._bytes(i).tobytes()

    def size(self, i: int) -> int:
        """Return how many bytes the file has, -1 for one that is not there."""
        try:
            return (self._folder / self._paths[i]).stat().st_size
        except OSError:
            return -1

    def state(self) -> bytes:
        """Return a hash of the files' names and of what the disk says of each: its size, and when it was changed."""

        def of_block(start: int) -> bytes:
            found = np.array([self._stamp(i) for i in range(start, min(start + _BLOCK, len(self._paths)))], "<i8")
            names = "\0".join(self._paths[i] for i in range(start, min(start + _BLOCK, len(self._paths))))
            return found.tobytes() + os.fsencode(names)

        with ThreadPoolExecutor(_THREADS, "file states") as pool:
            return hash_of(pool.map(of_block, range(0, len(self._paths), _BLOCK)))

    def _stamp(self, i: int) -> tuple[int, int, int]:
        try:
            found = os.stat(self._folder / self._paths[i])  # noqa: PTH116, a million of them
        except OSError:
            return -1, 0, 0
        return found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def _bytes(self, i: int) -> np.ndarray:
        try:
            return read_array(os.path.join(self._folder, self._paths[i]), MAX_FILE_BYTES)  # noqa: PTH118, 0.03 ms less
        except OSError as error:
            gone = error.errno in NO_SUCH_FILE or isinstance(error, UnfitFileError | IsADirectoryError)
            kind = ReportedError if gone else UnreadableError
            raise kind(f"{self.name(i)} cannot be read: {error.strerror}") from error

    def noticed(self) -> list[str]:
        """Sentences about pictures that are usable but may not look as they should; each is returned once."""
        seen, sentences = np.count_nonzero(self._forms), []
        for form, sentence in _NOTICED.items():
            count = np.count_nonzero(self._forms & form)
            if count and form not in self._told:
                self._told.add(form)
                sentences.append(f"{count} of the {seen} pictures read so far {sentence}")
        return sentences
