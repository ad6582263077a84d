"""MindSpore's `.ckpt` file, read without MindSpore, whose reader believes what a file says of its sizes.

A file is a protobuf message, written entry by entry. A checked one has 17 bytes more: `crc_num` and, in big-endian, the
CRC-32 of all before them. An entry (field 1) holds a name (1) and a tensor (2): dims (1, repeated), the type's name (2)
and the content's bytes (3). A long content is cut, each piece in an entry of its own with name, dims and type of all.

`scan` reads only what stands around the contents; `read_array` allocates what the file's own size has vouched for.
"""

import math
import zlib
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

MAX_ENTRIES, MAX_AXES = 2**17, 8  # a DenseNet has some thousand arrays of up to four axes
MAX_PIECES = 256  # of half a gigabyte each
MAX_NAME, MAX_TYPE, MAX_TEXT = 1000, 20, 2**26  # bytes; the text holds a run's history and a million class names
_CRC_MARK, _CRC_BYTES = b"crc_num", 17
_BLOCK = 2**20
_VARINT, _BYTES = 0, 2  # protobuf's wire types
_TEXT = "str"
# bfloat16 is the upper half of a float32, which NumPy has instead.
_TYPES = {
    "Bool": "u1", "Int8": "i1", "UInt8": "u1", "Int16": "<i2", "UInt16": "<u2", "Int32": "<i4", "UInt32": "<u4",
    "Int64": "<i8", "UInt64": "<u8", "Float16": "<f2", "Float32": "<f4", "Float64": "<f8", "BFloat16": "<u2",
}  # fmt: skip


class FormatError(Exception):
    """The bytes are not what MindSpore writes; the text says what was found."""


@dataclass(frozen=True)
class Entry:
    """An array or text of the file: `pieces` are (offset, length) of its content's parts."""

    type: str
    shape: tuple[int, ...]
    pieces: tuple[tuple[int, int], ...]

    @property
    def is_text(self) -> bool:
        """Whether it is no array."""
        return self.type == _TEXT

    @property
    def num_bytes(self) -> int:
        """Of the whole content."""
        return sum(length for _, length in self.pieces)


def scan(file: BinaryIO) -> tuple[dict[str, Entry], bool]:
    """The entries of a whole file by their names, in its order, and whether its checksum was there (and right).

    Raises FormatError for anything but whole entries of known types whose contents have the size of their dims.
    """
    size = file.seek(0, 2)
    checked = _crc_is_right(file, size)
    end = size - _CRC_BYTES if checked else size
    entries: dict[str, Entry] = {}
    last, count = None, 0
    file.seek(0)
    while file.tell() < end:
        name, piece = _read_entry(file, end)
        count += 1
        if count > MAX_ENTRIES:
            raise FormatError(f"more than {MAX_ENTRIES:,} entries")
        if name == last:
            whole = entries[name]
            if (piece.type, piece.shape) != (whole.type, whole.shape):
                raise FormatError(f"two pieces of {name!r} differ in shape or type")
            if len(whole.pieces) == MAX_PIECES:
                raise FormatError(f"{name!r} in more than {MAX_PIECES} pieces")
            piece = Entry(piece.type, piece.shape, whole.pieces + piece.pieces)
        elif name in entries:
            raise FormatError(f"{name!r} occurs twice")
        entries[name], last = piece, name
    if not entries:
        raise FormatError("no entries")
    for name, entry in entries.items():
        _check_size(name, entry)
    return entries, checked


def read_array(file: BinaryIO, entry: Entry) -> np.ndarray:
    """The array of an entry. Raises FormatError when the file has changed."""
    array = np.empty(entry.shape, _TYPES[entry.type])
    _read_pieces(file, entry, memoryview(array.reshape(-1)).cast("B"))
    if entry.type == "Bool":
        return array != 0
    return (array.astype("<u4") << 16).view("<f4") if entry.type == "BFloat16" else array


def read_text(file: BinaryIO, entry: Entry) -> str:
    """The text of an entry. Raises FormatError when it is none."""
    if not entry.is_text:
        raise FormatError("an array in place of a text")
    content = bytearray(entry.num_bytes)
    _read_pieces(file, entry, memoryview(content))
    try:
        return content.decode("utf-32-le").rstrip("\0")
    except UnicodeDecodeError as error:
        raise FormatError("a text that is no Unicode") from error


def _crc_is_right(file: BinaryIO, size: int) -> bool:
    """Whether there is a checksum. Raises FormatError when it is another one than the content's."""
    file.seek(max(0, size - _CRC_BYTES))
    end = file.read(_CRC_BYTES)
    if not end.startswith(_CRC_MARK):
        return False
    file.seek(0)
    crc, left = 0, size - _CRC_BYTES
    while left:
        block = file.read(min(left, _BLOCK))
        if not block:
            raise FormatError("it became shorter while it was read")
        crc, left = zlib.crc32(block, crc), left - len(block)
    if crc != int.from_bytes(end[len(_CRC_MARK) :], "big"):
        raise FormatError("its checksum is not that of its content")
    return True


def _read_entry(file: BinaryIO, end: int) -> tuple[str, Entry]:
    number, wire = _field(file, end)
    if (number, wire) != (1, _BYTES):
        raise FormatError(f"field {number} where an entry should begin")
    end = _length(file, end)
    name = tensor = None
    while file.tell() < end:
        number, wire = _field(file, end)
        if (number, wire) == (1, _BYTES) and name is None:
            name = _text(file, end, MAX_NAME)
        elif (number, wire) == (2, _BYTES) and tensor is None:
            tensor = _read_tensor(file, _length(file, end))
        else:
            raise FormatError(f"field {number} in an entry, unknown or a second time")
    if not name or tensor is None:
        raise FormatError("an entry without name or tensor")
    return name, tensor


def _read_tensor(file: BinaryIO, end: int) -> Entry:
    shape, kind, piece = [], None, None
    while file.tell() < end:
        number, wire = _field(file, end)
        if (number, wire) == (1, _VARINT):
            shape.append(_varint(file, end))
        elif (number, wire) == (1, _BYTES):
            stop = _length(file, end)
            while file.tell() < stop and len(shape) <= MAX_AXES:
                shape.append(_varint(file, stop))
        elif (number, wire) == (2, _BYTES) and kind is None:
            kind = _text(file, end, MAX_TYPE)
        elif (number, wire) == (3, _BYTES) and piece is None:
            stop = _length(file, end)
            piece = (file.tell(), stop - file.tell())
            file.seek(stop)
        else:
            raise FormatError(f"field {number} in a tensor, unknown or a second time")
        if len(shape) > MAX_AXES:
            raise FormatError(f"an array of more than {MAX_AXES} axes")
    if kind is None or piece is None:
        raise FormatError("a tensor without type or content")
    return Entry(kind, () if shape == [0] else tuple(shape), (piece,))  # MindSpore's [0] is a scalar


def _check_size(name: str, entry: Entry) -> None:
    if entry.is_text:
        if entry.num_bytes % 4 or entry.num_bytes > MAX_TEXT:
            raise FormatError(f"{name!r} is a text of {entry.num_bytes} bytes")
        return
    if entry.type not in _TYPES:
        raise FormatError(f"{name!r} has the unknown type {entry.type!r}")
    wanted = math.prod(entry.shape) * np.dtype(_TYPES[entry.type]).itemsize
    if not wanted or wanted != entry.num_bytes:  # a negative dim is a huge number here
        raise FormatError(f"{name!r} has {entry.num_bytes} bytes for the shape {list(entry.shape)} of {entry.type}")


def _read_pieces(file: BinaryIO, entry: Entry, target: memoryview) -> None:
    done = 0
    for offset, length in entry.pieces:
        file.seek(offset)
        if file.readinto(target[done : done + length]) != length:
            raise FormatError("it became shorter while it was read")
        done += length


def _field(file: BinaryIO, end: int) -> tuple[int, int]:
    key = _varint(file, end)
    return key >> 3, key & 7


def _length(file: BinaryIO, end: int) -> int:
    """Read a length; where what has it ends."""
    length = _varint(file, end)
    stop = file.tell() + length
    if stop > end:
        raise FormatError("an entry that goes beyond its end")
    return stop


def _text(file: BinaryIO, end: int, most: int) -> str:
    stop = _length(file, end)
    length = stop - file.tell()
    if length > most:
        raise FormatError(f"a name of {length} bytes")
    try:
        return file.read(length).decode()
    except UnicodeDecodeError as error:
        raise FormatError("a name that is no text") from error


def _varint(file: BinaryIO, end: int) -> int:
    """A number of up to 64 bits, seven in a byte, the lowest first."""
    value = 0
    for shift in range(0, 70, 7):
        if file.tell() >= end:
            break
        byte = file.read(1)
        if not byte:
            break
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            if value >= 2**64:
                break
            return value
    raise FormatError("a number that does not end")
