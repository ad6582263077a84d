"""What can be said of one picture by looking at it once: its form, a small grey copy, and a perceptual hash."""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from src.datasets.contents import content_hash
from src.datasets.source import Source
from src.utils.errors import ReportedError

SIDE = 16  # of the grey copy
EXTREME_RATIO, SMALLEST, LARGEST = 4.0, 32, 8000  # longer side to shorter side; pixels
_ORIENTATION = 0x0112  # EXIF
_BLOCK = 64


@dataclass
class Looks:
    """Of n pictures, in the order of their data set.

    content: uint64 (n,), see `content_hash`. perceptual: uint64 (n,), a bit for each of 8x8 places, whether it is
    darker than its right neighbour (difference hash). thumbnails: uint8 (n, SIDE, SIDE). sizes: int32 (n, 2), width
    and height. mean, square: float64 (n, 3), of the pixels by channel, white being 1. odd: what is odd about the
    pictures, by number. unreadable: why some cannot be used, by number; the arrays hold zeros for these.
    """

    content: np.ndarray
    perceptual: np.ndarray
    thumbnails: np.ndarray
    sizes: np.ndarray
    mean: np.ndarray
    square: np.ndarray
    odd: dict[int, list[str]] = field(default_factory=dict)
    unreadable: dict[int, str] = field(default_factory=dict)

    @property
    def usable(self) -> np.ndarray:
        """Bool (n,)."""
        good = np.ones(len(self.content), bool)
        good[list(self.unreadable)] = False
        return good


def look_at(source: Source, workers: int) -> Looks:
    """Read and decode every picture of `source`, several at a time."""
    n = len(source)
    looks = Looks(
        np.zeros(n, np.uint64), np.zeros(n, np.uint64), np.zeros((n, SIDE, SIDE), np.uint8), np.zeros((n, 2), np.int32),
        np.zeros((n, 3)), np.zeros((n, 3)),
    )  # fmt: skip

    def of_block(start: int) -> None:
        for i in range(start, min(start + _BLOCK, n)):
            try:
                with _decoding(source, i):
                    _look(source, i, looks)
            except ReportedError as error:
                looks.unreadable[i] = str(error)

    with ThreadPoolExecutor(workers, "looking at pictures") as pool:
        list(pool.map(of_block, range(0, n, _BLOCK)))
    return looks


def thumbnail(source: Source, i: int, side: int) -> Image.Image:
    """Picture `i`, its longer side at most `side`. Raises ReportedError when it cannot be used."""
    with _decoding(source, i):
        picture = _opened(source, i)
        picture = _grey(picture) if picture.mode.startswith("I") else picture.convert("RGB")
    picture.thumbnail((side, side))
    return picture


@contextmanager
def _decoding(source: Source, i: int) -> Iterator[None]:
    """Raises ReportedError, with the picture's name, for what is raised inside."""
    try:
        yield
    except ReportedError:
        raise
    except Exception as error:  # whatever Pillow finds wrong with a stranger's file, of which it names dozens
        raise ReportedError(f"{source.image_name(i)} cannot be decoded: {type(error).__name__}") from error


def _opened(source: Source, i: int) -> Image.Image:
    data = source.read(i)
    return Image.open(io.BytesIO(data.tobytes())) if source.encoded else Image.fromarray(data)


def _look(source: Source, i: int, looks: Looks) -> None:
    picture = _opened(source, i)
    odd = _odd(picture) if source.encoded else []
    looks.sizes[i] = picture.size
    if source.encoded and picture.format == "JPEG":
        picture.draft(
            "RGB" if picture.mode == "YCbCr" else picture.mode, (8 * SIDE, 8 * SIDE)
        )  # a quick, smaller decode
    grey = _grey(picture)
    pixels = np.asarray((grey if picture.mode.startswith("I") else picture).convert("RGB"), np.float64) / 255
    looks.mean[i], looks.square[i] = pixels.mean((0, 1)), (pixels**2).mean((0, 1))
    looks.thumbnails[i] = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX))
    steps = np.asarray(grey.resize((9, 8), Image.Resampling.BOX), np.int16)
    bits = steps[:, :-1] < steps[:, 1:]
    looks.perceptual[i] = np.packbits(bits.ravel()).view(">u8")[0]
    looks.content[i] = content_hash(source, i)
    if np.ptp(looks.thumbnails[i]) < 3:
        odd.append("of one colour")
    if odd:
        looks.odd[i] = odd


def _grey(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):  # 16 bits: their range is brought to 8
        return Image.fromarray((np.asarray(picture, np.int64) >> 8).clip(0, 255).astype(np.uint8))
    return picture.convert("L")


def _odd(picture: Image.Image) -> list[str]:
    width, height = picture.size
    orientation = picture.getexif().get(_ORIENTATION, 1)
    has_alpha = picture.mode in ("LA", "RGBA", "PA") or "transparency" in picture.info
    found = (
        (orientation not in (0, 1), f"turned by its EXIF orientation {orientation}"),
        (has_alpha, "with transparency"),
        (picture.mode.startswith("I"), "with 16 bits"),
        (picture.mode == "CMYK", "in CMYK"),
        (picture.mode == "1", "of black and white only"),
        (getattr(picture, "n_frames", 1) > 1, "of several pages"),
        (
            max(width, height) > EXTREME_RATIO * min(width, height),
            f"more than {EXTREME_RATIO:g} times longer than wide",
        ),
        (min(width, height) < SMALLEST, f"of less than {SMALLEST} pixels"),
        (max(width, height) > LARGEST, f"of more than {LARGEST} pixels"),
    )
    return [text for is_so, text in found if is_so]
