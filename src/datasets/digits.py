"""scikit-learn's bundled handwritten digits: 1797 real pictures of 8x8 that need no download.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998.
"""

import numpy as np
from PIL import Image

from src.datasets.identity import hash_of
from src.datasets.preprocessing_choices import DECODED
from src.datasets.source import Source
from src.utils.errors import ReportedError

SIZE = 32


def open_digits(split: str) -> Source:
    """Open the training or the held-out part: every fifth picture of each digit is held out (1442 and 355 pictures).

    The grey levels 0..16 become 0..255, the pictures are enlarged to 32x32 (bilinear) and repeated in three channels.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ReportedError(
            "the data set digits comes with scikit-learn, which is missing: pip install scikit-learn"
        ) from error
    digits = load_digits()
    rank_in_class = np.zeros(len(digits.target), np.int64)
    for digit in range(10):
        members = digits.target == digit
        rank_in_class[members] = np.arange(members.sum())
    held_out = rank_in_class % 5 == 4
    chosen = np.flatnonzero(held_out if split == "eval" else ~held_out)
    pictures = np.rint(digits.images[chosen] * (255 / 16)).astype(np.uint8)
    pixels = np.stack([_enlarge(picture) for picture in pictures])
    return Source(
        dataset="digits",
        class_names=tuple("0123456789"),
        labels=digits.target[chosen].astype(np.int32),
        form=DECODED,
        read=pixels.__getitem__,
        image_name=lambda i: f"digits[{chosen[i]}]",
        origin="the data set digits",
        identity=lambda: hash_of([pixels.tobytes()]),
    )


def _enlarge(picture: np.ndarray) -> np.ndarray:
    """Return a grey picture (8, 8) as uint8 (SIZE, SIZE, 3)."""
    return np.asarray(Image.fromarray(picture).resize((SIZE, SIZE), Image.Resampling.BILINEAR).convert("RGB"))
