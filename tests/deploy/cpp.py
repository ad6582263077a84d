"""What the tests of the C++ program share: building it, calling its preprocessing, and files to feed it with."""

import fcntl
import io
import shutil
import struct
import subprocess
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from commands import ROOT
from PIL import Image
from shared import kept
from sklearn.datasets import load_sample_images

from src.datasets.preprocessing import Preprocessing

SOURCES = ROOT / "ascend310_infer"


def build_sanitized(*targets: str) -> Path:
    """Build programs that do not need MindSpore Lite under sanitizers and return their folder; see shared.kept."""
    options = ["-DLITE_HOME=", "-DSANITIZE=ON"]
    parts = [path for part in ("inc", "src", "tests", "tools") for path in (SOURCES / part).rglob("*")]
    files = [SOURCES / "CMakeLists.txt", *parts]
    return kept([*options, *targets], files, lambda folder: _build_in(folder, options, targets))


@contextmanager
def program_folder() -> Iterator[Path]:
    """Where scripts/run_infer_310.sh builds the program; inside the `with` nobody else does."""
    folder = SOURCES / "out"
    folder.mkdir(exist_ok=True)
    with (folder / "build.log.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def build(*targets: str) -> Path:
    """Build them as they are shipped, of the program's objects, and return their folder."""
    with program_folder() as folder:
        cache = folder / "CMakeCache.txt"
        if cache.exists() and f"CMAKE_HOME_DIRECTORY:INTERNAL={SOURCES}\n" not in cache.read_text():
            cache.unlink()  # the checkout was moved
            shutil.rmtree(folder / "CMakeFiles")
        _build_in(folder, [], targets)
    return folder


def _build_in(folder: Path, options: Sequence[str], targets: Sequence[str]) -> None:
    for command in (
        ["cmake", "-S", SOURCES, "-B", folder, *options],
        ["cmake", "--build", folder, "--parallel", "2", "--target", *targets],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def preprocess(
    tool: Path, preprocessing: Preprocessing, files: Sequence[Path], *flags: object
) -> subprocess.CompletedProcess:
    """Run preprocess_tool; its stdout has a line for each file."""
    values = {
        "image_size": preprocessing.image_size,
        "resize": preprocessing.resize,
        "mean": ",".join(map(repr, preprocessing.mean)),
        "std": ",".join(map(repr, preprocessing.std)),
        "resize_mode": preprocessing.resize_mode,
        "interpolation": preprocessing.interpolation,
        "pixels": preprocessing.pixels,
    }
    words = [f"--{name}={value}" for name, value in values.items()]
    return subprocess.run([tool, *words, *map(str, flags), *files], capture_output=True, text=True)


def photographs() -> list[Image.Image]:
    """A Chinese temple and a flower, 640 x 427."""
    return [Image.fromarray(image) for image in load_sample_images().images]


def encoded(picture: Image.Image, file_format: str, **options: object) -> bytes:
    """The bytes of a file that shows `picture`; `options` are Pillow's."""
    file = io.BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()


def png_chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file with its checksum."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(pixels: np.ndarray, colour_type: int, *, interlaced: bool = False) -> bytes:
    """A PNG of `pixels` (H, W, C) uint8 or uint16, in a form that Pillow does not write."""
    height, width = pixels.shape[:2]
    # Adam7: the first row and column of each pass, and the steps to the next ones.
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    parts = [pixels[y::down, x::right] for y, x, down, right in passes] if interlaced else [pixels]
    big_endian = pixels.dtype.newbyteorder(">")
    rows = b"".join(b"\0" + row.astype(big_endian).tobytes() for part in parts if part.size for row in part)
    header = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, colour_type, 0, 0, interlaced)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def damaged(originals: Sequence[bytes], count: int, seed: int) -> Iterator[bytes]:
    """`count` files with a few bytes changed (anywhere, or in the header), cut off, or inserted."""
    random = np.random.default_rng(seed)
    for i in range(count):
        data = bytearray(originals[i % len(originals)])
        kind = i // len(originals) % 4
        if kind < 2:
            end = len(data) if kind == 0 else min(len(data), 700)
            for _ in range(random.integers(1, 9)):
                data[random.integers(end)] = random.integers(256)
        elif kind == 2:
            del data[random.integers(len(data)) if random.random() < 0.5 else -random.integers(1, 20) :]
        else:
            at = random.integers(len(data))
            data[at:at] = random.bytes(random.integers(1, 50))
        yield bytes(data)


def write_all(folder: Path, contents: Sequence[bytes]) -> list[Path]:
    """Write numbered files into `folder`."""
    folder.mkdir(parents=True)
    files = [folder / f"{i}.jpg" for i in range(len(contents))]
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
    return files
