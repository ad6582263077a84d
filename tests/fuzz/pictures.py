"""Damaged pictures against the check that stands before MindSpore's decoder: nothing may crash, hang or eat memory.

python tests/fuzz/pictures.py              # 5000 pictures, a few minutes
python tests/fuzz/pictures.py 20000 7      # more, of another seed

Each is refused with a sentence, or passes and is then decoded by both of MindSpore's operators. Prints how many were,
and by how much the process has grown.
"""

import resource
import struct
import sys
import zlib
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mindspore.dataset import vision
from PIL import Image
from sklearn.datasets import load_sample_images

from src.datasets.image_check import UnusablePictureError, check_picture, decodable

Random = np.random.Generator
_PNG_HEAD = 8
# Values at which sizes overflow, lengths lie or counts are empty.
_ODD_NUMBERS = (0, 1, 2, 3, 7, 16, 255, 256, 13300, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


def originals() -> list[tuple[str, bytes]]:
    """Sound pictures of each format, small ones."""
    image = Image.fromarray(load_sample_images().images[0]).resize((60, 45))
    grey16 = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 250)
    kinds = [
        ("JPEG", image, {}),
        ("JPEG", image, {"progressive": True, "restart_marker_rows": 1}),
        ("JPEG", image.convert("CMYK"), {}),
        ("JPEG", image.convert("L"), {"subsampling": 2}),
        ("PNG", image, {"icc_profile": bytes(100)}),
        ("PNG", image.quantize(50), {"transparency": 3}),
        ("PNG", image.convert("LA"), {}),
        ("PNG", grey16, {}),
        ("BMP", image, {}),
        ("BMP", image.quantize(40), {}),
        ("TIFF", image, {}),
        ("TIFF", image, {"compression": "tiff_lzw"}),
        ("TIFF", image.convert("1"), {"compression": "group4"}),
        ("TIFF", image, {"compression": "jpeg"}),
        ("TIFF", grey16, {"compression": "tiff_adobe_deflate"}),
    ]
    files = []
    for file_format, picture, options in kinds:
        buffer = BytesIO()
        picture.save(buffer, file_format, **options)
        files.append((file_format, buffer.getvalue()))
    return files


def damaged(random: Random, files: list[tuple[str, bytes]]) -> bytes:
    """One of `files`, damaged: blindly, or in its structure with checksums that are right again."""
    file_format, original = files[random.integers(len(files))]
    data = bytearray(original)
    change: Callable = _pick(random, [_bytes, _header, _cut, _insert, _splice, _structure, _structure])
    if change is _splice:
        data = _splice(random, data, files[random.integers(len(files))][1])
    elif change is _structure:
        data = {"JPEG": _segment, "PNG": _chunk, "BMP": _number, "TIFF": _tag}[file_format](random, data)
    else:
        change(random, data)
    return bytes(data)


def _pick(random: Random, values: Sequence) -> object:
    """One of `values`; Generator.choice would make NumPy's types of them, which cut zero bytes off."""
    return values[random.integers(len(values))]


def _bytes(random: Random, data: bytearray) -> None:
    for _ in range(random.integers(1, 9)):
        data[random.integers(len(data))] = random.integers(256)


def _header(random: Random, data: bytearray) -> None:
    for _ in range(random.integers(1, 6)):
        data[random.integers(min(len(data), 700))] = random.integers(256)


def _cut(random: Random, data: bytearray) -> None:
    del data[random.integers(len(data)) :]


def _insert(random: Random, data: bytearray) -> None:
    at = random.integers(len(data))
    data[at:at] = random.bytes(random.integers(1, 5000))


def _splice(random: Random, data: bytearray, other: bytes) -> bytearray:
    return data[: random.integers(len(data))] + other[random.integers(len(other)) :]


def _structure() -> None:
    """Stands for the change of the file's own format."""


def _segment(random: Random, data: bytearray) -> bytearray:
    """A JPEG whose frame, tables or lengths say something else."""
    markers = [i for i in range(2, min(len(data), 700) - 1) if data[i] == 0xFF and data[i + 1] >= 0xC0]
    at = _pick(random, markers)
    kind = random.integers(3)
    if kind == 0:  # sizes, components, samplings
        data[at + 2 + random.integers(17)] = random.integers(256)
    elif kind == 1:
        data[at + 1] = 0xC0 + random.integers(0x3F)
    else:
        size = data.index(b"\xff\xc2" if b"\xff\xc2" in data else b"\xff\xc0") + 5
        data[size : size + 4] = struct.pack(">HH", *(_pick(random, _ODD_NUMBERS) & 0xFFFF for _ in range(2)))
    return data


def _chunk(random: Random, data: bytearray) -> bytearray:
    """A PNG with a chunk of another content, length, name or place, and right checksums."""
    chunks, at = [], _PNG_HEAD
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        chunks.append([bytes(data[at + 4 : at + 8]), bytearray(data[at + 8 : at + 8 + length])])
        at += 12 + length
    i, kind = random.integers(len(chunks)), random.integers(5)
    if kind == 0:
        struct.pack_into(">I", chunks[0][1], 4 * random.integers(2), _pick(random, _ODD_NUMBERS))
    elif kind == 1:
        chunks[0][1][8 + random.integers(5)] = random.integers(17)  # depth, colours, methods, interlacing
    elif kind == 2:
        chunks.insert(random.integers(len(chunks) + 1), chunks[i])
    elif kind == 3:
        del chunks[i]
    else:
        name = _pick(random, [b"PLTE", b"tRNS", b"zTXt", b"iCCP", b"acTL", b"fcTL", b"fdAT", b"IDAT", b"ABCD", b"eXIf"])
        content = _pick(random, [b"", b"a\0\0" + zlib.compress(bytes(10**6)), random.bytes(300), bytes(10**5)])
        chunks.insert(random.integers(1, len(chunks)), [name, content])
    made = bytearray(data[:_PNG_HEAD])
    for name, content in chunks:
        lie = _pick(random, _ODD_NUMBERS) if random.random() < 0.05 else len(content)
        made += struct.pack(">I", lie) + name + content + struct.pack(">I", zlib.crc32(name + content))
    return made


def _number(random: Random, data: bytearray) -> bytearray:
    """A BMP with other numbers in its header."""
    for _ in range(random.integers(1, 4)):
        at = _pick(random, [10, 14, 18, 22, 28, 30, 34, 46])
        number = _pick(random, [*_ODD_NUMBERS, 4, 5, 6, 12, 24, 32, 40, 54, 124])
        struct.pack_into("<I" if at != 28 else "<H", data, at, number & (0xFFFFFFFF if at != 28 else 0xFFFF))
    return data


def _tag(random: Random, data: bytearray) -> bytearray:
    """A TIFF with other tags, types, counts or values."""
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    for _ in range(random.integers(1, 4)):
        entry = start + 2 + 12 * random.integers(count)
        kind = random.integers(5)
        if kind == 0:
            struct.pack_into("<H", data, entry, _pick(random, [256, 257, 258, 259, 262, 277, 278, 322, 323, 339, 284]))
        elif kind == 1:
            struct.pack_into("<H", data, entry + 2, random.integers(14))
        else:
            struct.pack_into("<I", data, entry + (4 if kind == 2 else 8), _pick(random, _ODD_NUMBERS))
    return data


def run(count: int, seed: int, announce: Callable[[int], None] = lambda _: None) -> tuple[int, int]:
    """Check `count` damaged pictures; return how many passed and were refused. Whatever else happens is raised."""
    files, random = originals(), np.random.default_rng(seed)
    operators = vision.Decode(), vision.RandomCropDecodeResize(32)
    passed = 0
    for i in range(count):
        announce(i)
        data = np.frombuffer(damaged(random, files), np.uint8).copy()
        try:
            form = check_picture(data)
        except UnusablePictureError:
            continue
        passed += 1
        for operator in operators:
            assert operator(decodable(data, form)).ndim == 3, i
    return passed, count - passed


def main() -> None:
    """Print what became of the pictures and the process's growth; the number on stderr is that of one that crashes."""
    count, seed = map(int, (sys.argv[1:] + ["5000", "0"][len(sys.argv) - 1 :])[:2])
    run(20, seed)  # what the libraries take once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    passed, refused = run(count, seed, lambda i: print(i, end="\r", file=sys.stderr, flush=True))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    print(f"{passed} decoded, {refused} refused, {grown} MB more memory")


if __name__ == "__main__":
    main()
