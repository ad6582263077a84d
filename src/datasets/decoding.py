"""A file's pixels without MindSpore: those that its decoder gives, bit for bit."""

import sys
from io import BytesIO

import numpy as np
from PIL import Image

from src.datasets.shown import differs_as_shown, rgb, shown_picture, stored_picture


def decode_to_check(data: np.ndarray) -> np.ndarray:
    """The pixels of a file's bytes, uint8 (length,), by the decoder that this process uses: MindSpore's where that is
    loaded. uint8 (H, W, 3). Raises what the decoder raises.
    """
    if sys.modules.get("mindspore"):
        from mindspore.dataset import vision

        return vision.Decode()(data)
    return stored_pixels(data)


def decoded_pixels(data: np.ndarray, pixels: str) -> np.ndarray:
    """The pixels of a checked file as the operators of a pipeline without `antialias` get them, uint8 (H, W, 3).

    pixels: 'shown' or 'stored', see `Preprocessing`. Raises what Pillow raises.
    """
    if pixels == "shown" and differs_as_shown(data):
        return np.asarray(rgb(shown_picture(data)))
    return stored_pixels(data)


def stored_pixels(data: np.ndarray) -> np.ndarray:
    """The pixels of a checked file as MindSpore's decoder gives them, uint8 (H, W, 3). Raises what Pillow raises."""
    if data[:3].tobytes() == b"\xff\xd8\xff":
        with Image.open(BytesIO(data.data), formats=("JPEG",)) as image:
            if image.mode == "CMYK":
                return _of_inverted(255 - np.asarray(image).astype(np.int32))
            return np.asarray(rgb(image))
    return np.asarray(rgb(stored_picture(data)))


def _of_inverted(cmyk: np.ndarray) -> np.ndarray:
    """CMYK as Adobe's programs store it, 255 for no ink, in colours; Pillow rounds otherwise."""
    return (cmyk[..., :3] * cmyk[..., 3:] // 255).astype(np.uint8)
