"""scikit-learn's bundled handwritten digits: 1797 real pictures of 8x8 that need no download.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998.
"""

import functools
import gzip
import zlib

import numpy as np
from PIL import Image

from src.datasets.identity import hash_of
from src.datasets.preprocessing_choices import DECODED
from src.datasets.source import Source
from src.utils.scikit_learn import data_file, unreadable

SIZE = 32


def open_digits(split: str) -> Source:
    """Open the training or the held-out part: every fifth picture of each digit is held out (1442 and 355 pictures).

    The grey levels 0..16 become 0..255, the pictures are enlarged to 32x32 (bilinear) and repeated in three channels.
    """
    pixels, labels, chosen = _part(split)
    return Source(
        dataset="digits",
        class_names=tuple("0123456789"),
        labels=labels,
        form=DECODED,
        read=pixels.__getitem__,
        image_name=lambda i: f"digits[{chosen[i]}]",
        origin="the data set digits",
        identity=lambda: hash_of([pixels.tobytes()]),
    )


@functools.cache
def _part(split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pixels (N, SIZE, SIZE, 3) uint8, labels (N,) int32 and numbers of its pictures, none to be written to."""
    images, labels = _all()
    rank_in_class = np.zeros(len(labels), np.int64)
    for digit in range(10):
        members = labels == digit
        rank_in_class[members] = np.arange(members.sum())
    held_out = rank_in_class % 5 == 4
    chosen = np.flatnonzero(held_out if split == "eval" else ~held_out)
    pictures = np.rint(images[chosen] * (255 / 16)).astype(np.uint8)
    part = np.stack([_enlarge(picture) for picture in pictures]), labels[chosen], chosen
    for array in part:
        array.flags.writeable = False
    return part


@functools.cache
def _all() -> tuple[np.ndarray, np.ndarray]:
    """The grey levels (N, 8, 8) and labels (N,) int32, in scikit-learn's order."""
    path = data_file("the data set digits comes", "data", "digits.csv.gz")
    try:
        with gzip.open(path, "rt") as file:
            rows = np.array([line.split(",") for line in file], np.float64)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise unreadable("the data set digits", path, error) from error
    return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].astype(np.int32)


def _enlarge(picture: np.ndarray) -> np.ndarray:
    """Return a grey picture (8, 8) as uint8 (SIZE, SIZE, 3)."""
    return np.asarray(Image.fromarray(picture).resize((SIZE, SIZE), Image.Resampling.BILINEAR).convert("RGB"))
