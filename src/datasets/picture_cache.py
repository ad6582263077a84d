"""A file of pictures as far as they are the same in each epoch (`stages.py`), for all threads, ranks and runs.

A header, a table with a row a picture, and what is kept of the pictures, each at its place. Its key says of which
pictures and of what it is; every picture has a checksum, which is compared at each reading: what is not as it was
written is made again from the picture. It is read, not mapped: a mapped file that is cut ends the process with SIGBUS.
"""

import os
import struct
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import BinaryIO

import numpy as np

from src.datasets.preprocessing_choices import RESIZED
from src.datasets.source import Source, picture_named
from src.datasets.stages import Stage
from src.utils.errors import ReportedError
from src.utils.logging import get_logger

_MAGIC = b"densenet pictures 1\n"
_HEADER = struct.Struct(f"<{len(_MAGIC)}s32sqI")  # key, number of pictures, checksum of the table
_ROW = np.dtype(
    [("offset", "<i8"), ("checksum", "<u4"), ("height", "<u4"), ("width", "<u4"), ("channels", "u1"), ("floats", "u1")]
)
_TOGETHER = 64  # pictures between two signs of life


class PictureCache:
    """What is kept of the pictures of `source` in the open `file`, which `where` names. Safe to use from threads."""

    def __init__(self, file: BinaryIO, table: np.ndarray, source: Source, stage: Stage, where: str) -> None:
        self.stage = stage
        self._file, self._table, self._source, self._where = file, table, source, where
        self._telling = threading.Lock()
        self._told = False

    def record(self, i: int) -> np.ndarray:
        """What `stage` makes of picture `i`. Raises ReportedError where that has to be made again and cannot be."""
        row = self._table[i]
        shape = tuple(int(side) for side in (row["height"], row["width"], row["channels"]) if side)
        record = np.empty(shape, np.float32 if row["floats"] else np.uint8)
        try:
            count = os.preadv(self._file.fileno(), [record.reshape(-1).view(np.uint8)], int(row["offset"]))
        except OSError:
            count = -1
        if count == record.nbytes and zlib.crc32(record) == row["checksum"]:
            return record
        return self._again(i, row)

    def _again(self, i: int, row: np.void) -> np.ndarray:
        record = _made(self._source, self.stage, i)
        with self._telling:
            if not self._told:
                get_logger().warning(
                    "%s is damaged, first at %s: what is not as it was written is made again",
                    self._where, self._source.image_name(i),
                )  # fmt: skip
                self._told = True
        if zlib.crc32(record) == row["checksum"]:  # else the picture is another one by now
            with suppress(OSError):  # it is made again each time
                _write(self._file, record, int(row["offset"]))
        return record


def bounds(source: Source, stage: Stage, workers: int) -> np.ndarray:
    """How many bytes are kept of each picture at most, int64 (n,). Raises ReportedError for one that cannot be read."""
    if stage.form == RESIZED:
        return np.full(len(source), stage.most_bytes(0, bytes), np.int64)

    def of_block(first: int) -> list[int]:
        block = range(first, min(first + _TOGETHER, len(source)))
        return [stage.most_bytes(source.content_size(i), partial(source.content, i)) for i in block]

    with ThreadPoolExecutor(workers, "picture sizes") as pool:
        blocks = pool.map(of_block, range(0, len(source), _TOGETHER))
        return np.fromiter((size for block in blocks for size in block), np.int64, len(source))


def size_of(most: np.ndarray) -> int:
    """How many bytes a cache has whose pictures have these `bounds`."""
    return _HEADER.size + _ROW.itemsize * len(most) + int(most.sum())


def read_table(file: BinaryIO, key: bytes, count: int) -> tuple[np.ndarray | None, str]:
    """The table of the cache in `file`, or None and, in words, what is wrong with it. Raises OSError."""
    header = os.pread(file.fileno(), _HEADER.size, 0)
    if len(header) != _HEADER.size:
        return None, "is damaged"
    magic, found, number, checksum = _HEADER.unpack(header)
    if magic != _MAGIC or found != key or number != count:
        return None, "is of other pictures, or of other versions of what decodes them"
    table = np.frombuffer(os.pread(file.fileno(), _ROW.itemsize * count, _HEADER.size), np.uint8)
    if len(table) != _ROW.itemsize * count or zlib.crc32(table) != checksum:
        return None, "is damaged"
    return table.view(_ROW), ""


def fill(
    file: BinaryIO, key: bytes, source: Source, stage: Stage, most: np.ndarray, workers: int, beat: Callable[[], None]
) -> np.ndarray:
    """Write the cache of `source` into the empty `file`; return its table. most: see `bounds`.

    The header comes last: what was interrupted is no cache. Raises ReportedError for a picture that cannot be used,
    and OSError.
    """
    table = np.zeros(len(source), _ROW)
    start = _HEADER.size + table.nbytes
    table["offset"] = start + np.cumsum(most) - most

    def keep(first: int) -> None:
        for i in range(first, min(first + _TOGETHER, len(source))):
            record = _made(source, stage, i)
            if record.nbytes > most[i]:
                raise ReportedError(f"{source.image_name(i)} has changed while it was read; start again")
            _write(file, record, int(table["offset"][i]))
            row = table[i]
            row["height"], row["width"], row["channels"] = (*record.shape, 0, 0)[:3]
            row["checksum"], row["floats"] = zlib.crc32(record), record.dtype == np.float32

    pool = ThreadPoolExecutor(workers, "picture cache")
    try:
        for _ in pool.map(keep, range(0, len(source), _TOGETHER)):
            beat()
    finally:
        pool.shutdown(cancel_futures=True)
    _write(file, table.view(np.uint8), _HEADER.size)
    header = _HEADER.pack(_MAGIC, key, len(source), zlib.crc32(table))
    _write(file, np.frombuffer(header, np.uint8), 0)
    return table


def _made(source: Source, stage: Stage, i: int) -> np.ndarray:
    data = source.read(i)
    with picture_named(source, i):
        return np.ascontiguousarray(stage.make(data))


def _write(file: BinaryIO, record: np.ndarray, offset: int) -> None:
    rest = memoryview(record.reshape(-1).view(np.uint8))
    while rest:
        done = os.pwrite(file.fileno(), rest, offset)
        rest, offset = rest[done:], offset + done
