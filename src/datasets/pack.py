"""Packing a data set into MindRecord shards: several at a time, each kept once it is whole and was read back."""

import contextlib
import hashlib
import io
import json
import mmap
import os
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mindspore.mindrecord import FileWriter
from PIL import Image, ImageOps

from src.datasets.mindrecord import INDEX, write_index
from src.datasets.source import Source
from src.utils.errors import ReportedError
from src.utils.files import make_folder, write_atomically
from src.utils.shown import printable

MAX_RECORD = 2**25 - 2**16  # bytes; a page of MindRecord has 32 MB
_TOGETHER = 256  # pictures that are handed to MindSpore at once
_QUALITY = 95


@dataclass(frozen=True)
class Packed:
    """One shard. places: int64 (n, 3), of each record where it is, its length and its CRC-32; content: uint64 (n,)."""

    length: int
    places: np.ndarray
    content: np.ndarray


def pack(source: Source, folder: Path, *, per_shard: int, side: int, workers: int, said: Callable[[str], None]) -> int:
    """Pack `source` into `folder`, `per_shard` pictures a shard; return how many shards were there already.

    side: pictures with a longer shorter side are made smaller to it (and turned upright), 0: all are kept as they are.
    A shard that an earlier, interrupted call has finished is kept, if it is of these very pictures. said: called with a
    sentence for each shard. Raises ReportedError.
    """
    make_folder(folder)
    plan = hashlib.sha256(json.dumps([source.fingerprint(), per_shard, side, source.encoded]).encode()).hexdigest()
    starts = range(0, len(source), per_shard)
    kept = 0

    def one(number: int) -> Packed:
        nonlocal kept
        indices = range(starts[number], min(starts[number] + per_shard, len(source)))
        path = folder / shard_name(number)
        if found := _finished(path, plan, len(indices)):
            kept += 1
            return found
        packed = _write_shard(source, indices, path, side, plan)
        said(f"{path.name}: {len(indices)} pictures, {packed.length / 1e6:.0f} MB")
        return packed

    with ThreadPoolExecutor(workers, "packing") as pool:
        shards = list(pool.map(one, range(len(starts))))
    _write_whole_index(source, folder, shards)
    return kept


def shard_name(number: int) -> str:
    """`part-00003.mindrecord`."""
    return f"part-{number:05d}.mindrecord"


def _record_path(path: Path) -> Path:
    return path.with_name(path.name + ".npz")  # what is known of a finished shard


def _finished(path: Path, plan: str, count: int) -> Packed | None:
    """The shard at `path`, if it is whole and of this plan."""
    try:
        with np.load(_record_path(path), allow_pickle=False) as found:
            if found["plan"].tobytes().decode() != plan or found["places"].shape != (count, 3):
                return None
            packed = Packed(int(found["length"]), found["places"], found["content"])
        data = path.read_bytes()
    except (OSError, ValueError, KeyError, EOFError):
        return None
    sound = len(data) == packed.length and all(
        zlib.crc32(data[at : at + length]) == crc for at, length, crc in packed.places.tolist()
    )
    return packed if sound else None


def _write_shard(source: Source, indices: range, path: Path, side: int, plan: str) -> Packed:
    for old in (path, path.with_name(path.name + ".db"), _record_path(path)):
        old.unlink(missing_ok=True)
    checks, content = [], np.zeros(len(indices), np.uint64)
    try:
        writer = FileWriter(str(path), 1, overwrite=True)
        schema = {
            "image": {"type": "bytes"}, "label": {"type": "int32", "shape": [-1]}, "name": {"type": "string"},
            "content": {"type": "string"},
        }  # fmt: skip
        writer.add_schema(schema, json.dumps({"class_names": source.class_names, "dataset": source.dataset}))
        for start in range(0, len(indices), _TOGETHER):
            rows = []
            for k, i in enumerate(indices[start : start + _TOGETHER], start):
                data = _record(source, i, side)
                content[k] = int.from_bytes(hashlib.sha256(data).digest()[:8], "little")
                checks.append((len(data), zlib.crc32(data)))
                label = np.atleast_1d(source.labels[i]).astype(np.int32)
                name, digest = source.image_name(i), f"{int(content[k]):016x}"
                rows.append({"image": data, "label": label, "name": name, "content": digest})
            writer.write_raw_data(rows)
        writer.commit()
    except (RuntimeError, OSError) as error:
        raise ReportedError(
            f"{printable(path)} cannot be written: {printable(str(error))[:200]}; free the disk or choose another one"
        ) from error
    packed = Packed(path.stat().st_size, _places(path, checks), content)
    with contextlib.suppress(OSError):
        path.chmod(0o644)  # MindSpore makes it private
        path.with_name(path.name + ".db").chmod(0o644)
    _write_npz(_record_path(path), plan=np.frombuffer(plan.encode(), np.uint8), length=packed.length,
               places=packed.places, content=packed.content)  # fmt: skip
    return packed


def _record(source: Source, i: int, side: int) -> bytes:
    """What of picture `i` is packed: its file, made smaller if that is asked, or its pixels."""
    data = source.content(i) if source.encoded else source.read(i).tobytes()
    if side and source.encoded:
        data = _smaller(data, side) or data
    if not 0 < len(data) <= MAX_RECORD:
        raise ReportedError(
            f"{source.image_name(i)} has {len(data)} bytes, expected 1 to {MAX_RECORD} in a record; leave it out, or "
            "make the pictures smaller with --side"
        )
    return data


def _smaller(data: bytes, side: int) -> bytes | None:
    """The picture as a JPEG whose shorter side is `side`, upright; None for one that is not larger, or no JPEG."""
    try:
        picture = Image.open(io.BytesIO(data))
        if picture.format != "JPEG" or picture.mode not in ("RGB", "L") or min(picture.size) <= side:
            return None
        picture.draft(picture.mode, (2 * side, 2 * side))
        picture = ImageOps.exif_transpose(picture)
        scale = side / min(picture.size)
        size = tuple(max(side, round(length * scale)) for length in picture.size)
        out = io.BytesIO()
        picture.resize(size, Image.Resampling.BICUBIC).save(out, "JPEG", quality=_QUALITY)
        return out.getvalue()
    except (OSError, ValueError, SyntaxError):  # what is wrong with it is told when it is trained on
        return None


def _places(path: Path, checks: list[tuple[int, int]]) -> np.ndarray:
    """Where the records are in a shard that was written, by MindSpore's own index, and compared with `checks`."""
    import sqlite3

    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        header_size, page_size = _sizes(data)
        with contextlib.closing(sqlite3.connect(f"file:{path}.db?mode=ro", uri=True)) as base:
            rows = base.execute("SELECT PAGE_ID_BLOB, PAGE_OFFSET_BLOB FROM INDEXES ORDER BY ROW_ID").fetchall()
        if len(rows) != len(checks):
            raise ReportedError(f"{printable(path)} holds {len(rows)} records of {len(checks)}; pack the data again")
        places = []
        for (page, offset), (length, crc) in zip(rows, checks, strict=True):
            at = header_size + page * page_size + offset
            # The bytes of a field come behind their number, in as many bytes as MindSpore's version uses for it.
            start = next((at + n for n in (0, 8, 4, 16) if zlib.crc32(data[at + n : at + n + length]) == crc), None)
            if start is None:
                raise ReportedError(f"{printable(path)} was not written as it should be; pack the data again")
            places.append((start, length, crc))
    return np.array(places, np.int64)


def _sizes(data: mmap.mmap) -> tuple[int, int]:
    """The header's and a page's size, from the JSON text at the beginning of a shard."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length].split(b"\0")[0])
    return int(header["header_size"]), int(header["page_size"])


def _write_whole_index(source: Source, folder: Path, shards: list[Packed]) -> None:
    names = [source.image_name(i).encode() for i in range(len(source))]
    places = np.concatenate([shard.places for shard in shards])
    header = {
        "dataset": source.dataset, "class_names": source.class_names, "encoded": source.encoded,
        "numbered": source.numbered, "identity": source.identity().hex() or "00",
        "shape": [] if source.encoded else list(source.read(0).shape),
        "shards": [shard_name(k) for k in range(len(shards))], "lengths": [shard.length for shard in shards],
    }  # fmt: skip
    index = {
        "shard": np.repeat(np.arange(len(shards), dtype=np.int32), [len(shard.places) for shard in shards]),
        "offset": places[:, 0], "length": places[:, 1].astype(np.int32), "checksum": places[:, 2].astype(np.uint32),
        "content": np.concatenate([shard.content for shard in shards]), "label": source.labels,
        "group": np.zeros(0, np.int64) if source.groups is None else source.groups,
        "names": np.frombuffer(b"".join(names), np.uint8), "name_end": np.cumsum([*map(len, names)]),
    }  # fmt: skip
    write_atomically(folder / INDEX, lambda path: _save(path, lambda file: write_index(file, header, index)))


def _write_npz(path: Path, **arrays: object) -> None:
    write_atomically(path, lambda temporary: _save(temporary, lambda file: np.savez(file, **arrays)))


def _save(path: Path, write: Callable[[object], None]) -> None:
    with path.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
