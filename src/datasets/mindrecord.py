"""A data set packed into MindRecord shards (`scripts/write_mindrecord.py`): few large files instead of millions.

In the folder: `part-00000.mindrecord`, ..., each with MindSpore's own index beside it, and `index.npz`, of what is in
them. MindSpore's MindDataset reads the shards too; here a picture is read from its place in its shard, so that order,
sharding and bits are those of the data set that was packed.
"""

import json
import os
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src.datasets.class_names import is_list_of_names
from src.datasets.identity import hash_of
from src.datasets.image_files import ImageFiles, UnreadableError
from src.datasets.preprocessing_choices import DECODED, FILES
from src.datasets.source import Source
from src.utils.errors import ReportedError
from src.utils.files import is_file
from src.utils.outside import open_outside
from src.utils.shown import printable

INDEX, FORMAT_VERSION = "index.npz", 1
EXPECTED = "a folder that scripts/write_mindrecord.py has written"
_ARRAYS = {
    "shard": "i", "offset": "i", "length": "i", "checksum": "u", "content": "u", "label": "i", "group": "i",
    "name_end": "i", "names": "u", "header": "u",
}  # fmt: skip
_DAMAGED = (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error, EOFError, TypeError)
_PACK_AGAIN = "pack the data again, which keeps the sound shards"


class ShardFiles(ImageFiles):
    """Pictures as `ImageFiles` reads them, but from their places in the shards. Safe to use from several threads."""

    def __init__(self, folder: Path, shards: Sequence[str], index: dict[str, np.ndarray], names: Sequence[str]) -> None:
        super().__init__(folder, names)
        self._index, self._names = index, names
        self._shards = [folder / shard for shard in shards]
        self._open: dict[int, object] = {}

    def name(self, i: int) -> str:
        """Return what the picture was called in the data set that was packed."""
        return printable(self._names[i])

    def size(self, i: int) -> int:
        """Return how many bytes the picture has."""
        return int(self._index["length"][i])

    def state(self) -> bytes:
        """Bytes that tell these pictures from others: their checksums, which are compared at each reading."""
        return hash_of(self._index[name].tobytes() for name in ("checksum", "content", "length"))

    def _bytes(self, i: int) -> np.ndarray:
        shard = int(self._index["shard"][i])
        path = self._shards[shard]
        try:
            file = self._open.get(shard) or self._open.setdefault(shard, open_outside(path))
            data = os.pread(file.fileno(), int(self._index["length"][i]), int(self._index["offset"][i]))
        except OSError as error:
            raise UnreadableError(f"{printable(path)} cannot be read: {error.strerror}") from error
        if len(data) != self._index["length"][i] or zlib.crc32(data) != self._index["checksum"][i]:
            raise ReportedError(f"{printable(path)} is damaged at the picture {self.name(i)}; {_PACK_AGAIN}")
        return np.frombuffer(data, np.uint8)


class ShardPixels(ShardFiles):
    """Pictures that were packed as pixels, of one shape."""

    def __init__(self, shape: Sequence[int], *arguments: object) -> None:
        super().__init__(*arguments)
        self._shape = tuple(shape)

    def __call__(self, i: int) -> np.ndarray:
        """Return the pixels, uint8 of the shape."""
        return self._bytes(i).reshape(self._shape).copy()


def open_mindrecord(path: Path) -> Source:
    """Open the folder `path`. Every shard is looked for, and its length compared; what is in it is checked when read.

    The source says it is of the kind that was packed. Raises ReportedError.
    """
    header, index = read_index(path)
    for name, length in zip(header["shards"], header["lengths"], strict=True):
        shard = path / name
        try:
            found = shard.stat().st_size
        except OSError as error:
            raise ReportedError(
                f"the shard {printable(shard)} cannot be read: {error.strerror}; copy the whole folder again"
            ) from error
        if found != length:
            raise ReportedError(
                f"the shard {printable(shard)} has {found} bytes, expected {length}: it is truncated; copy it again, "
                f"or {_PACK_AGAIN}"
            )
    names = _Names(index["names"], index["name_end"])
    arguments = (path, header["shards"], index, names)
    images = ShardFiles(*arguments) if header["encoded"] else ShardPixels(header["shape"], *arguments)
    labels = index["label"] if index["label"].ndim == 2 else index["label"].astype(np.int32)
    return Source(
        header["dataset"], tuple(header["class_names"]), labels, form=FILES if header["encoded"] else DECODED,
        read=images, image_name=images.name, noticed=images.noticed, content=images.content, content_size=images.size,
        state=images.state, origin=printable(path), numbered=header["numbered"],
        identity=lambda: bytes.fromhex(header["identity"]),
        groups=index["group"] if len(index["group"]) else None,
    )  # fmt: skip


def is_packed(folder: Path) -> bool:
    """Whether `folder` looks like packed data."""
    return is_file(folder / INDEX)


def read_index(folder: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """What `write_index` wrote. Raises ReportedError for a folder without it, and for whatever is not exactly that."""
    path = folder / INDEX
    if not path.is_file():
        raise ReportedError(f"{printable(folder)} holds no {INDEX}; expected {EXPECTED}")
    try:
        with np.load(path, allow_pickle=False) as loaded:
            index = {name: loaded[name] for name in _ARRAYS}
        header = json.loads(index["header"].tobytes().decode())
        valid = _is_valid(header, index)
    except _DAMAGED:
        valid = False
    if not valid:
        raise ReportedError(f"{printable(path)} is damaged or of another version; pack the data again")
    return header, index


def write_index(file: object, header: dict, index: dict[str, np.ndarray]) -> None:
    """Write to the open binary `file` what `read_index` reads."""
    text = json.dumps({"format": FORMAT_VERSION, **header}).encode()
    np.savez(file, header=np.frombuffer(text, np.uint8), **index)


def _is_valid(header: object, index: dict[str, np.ndarray]) -> bool:
    """Whether nothing of it could lead outside, or to another picture than it says."""
    count = len(index["label"])
    per_picture = ("shard", "offset", "length", "checksum", "content", "name_end")
    classes = len(header["class_names"])
    labels = index["label"]
    return (
        header["format"] == FORMAT_VERSION
        and is_list_of_names(header["class_names"])
        and all(isinstance(name, str) and Path(name).name == name for name in header["shards"])
        and len(header["shards"]) == len(header["lengths"])
        and isinstance(header["dataset"], str)
        and type(header["encoded"]) is type(header["numbered"]) is bool
        and bool(bytes.fromhex(header["identity"]))
        and all(index[name].dtype.kind == kind for name, kind in _ARRAYS.items())
        and all(index[name].shape == (count,) for name in per_picture)
        and count > 0
        and 0 <= index["shard"].min() <= index["shard"].max() < len(header["shards"])
        and index["offset"].min() >= 0
        and index["length"].min() > 0
        and (labels.ndim == 2 and labels.shape[1] == classes if labels.ndim == 2 else labels.ndim == 1)
        and -(labels.ndim == 2) <= labels.min() <= labels.max() < (2 if labels.ndim == 2 else classes)
        and index["group"].shape in ((0,), (count,))
        and (np.diff(index["name_end"], prepend=0) >= 0).all()
        and index["name_end"][-1] == len(index["names"])
        and (header["encoded"] or (index["length"] == np.prod(header["shape"])).all())
    )


class _Names(Sequence[str]):
    """Names that lie one after another, UTF-8, with where each ends."""

    def __init__(self, packed: np.ndarray, ends: np.ndarray) -> None:
        self._packed, self._ends = packed, ends

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, i: int) -> str:
        start = int(self._ends[i - 1]) if i else 0
        return self._packed[start : int(self._ends[i])].tobytes().decode("utf-8", "replace")
