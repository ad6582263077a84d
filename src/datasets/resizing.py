"""MindSpore's resizing of pictures to a square, in NumPy, bit for bit; ascend310_infer has the same in C++."""

import numpy as np

_ONE = 2048  # OpenCV's fixed-point weights have 11 bits
_MAX_ENLARGEMENT = 1000  # MindSpore refuses more


def resized(pixels: np.ndarray, size: int) -> np.ndarray:
    """`pixels` (H, W, C) uint8, bilinearly, not antialiased, as vision.Resize does it: (size, size, C) uint8.

    Raises ValueError for a picture that is too small for that.
    """
    height, width, _ = pixels.shape
    if height == size and width == size:
        return pixels
    if min(height, width) * _MAX_ENLARGEMENT < size:
        raise ValueError(f"a picture of {width} x {height} pixels is too small to be enlarged to {size} x {size}")
    if height == 2 * size and width == 2 * size:  # OpenCV averages 2 x 2 pixels when both sides are halved
        four = pixels.reshape(size, 2, size, 2, -1).sum((1, 3), dtype=np.int32)
        return ((four + 2) >> 2).astype(np.uint8)
    top, bottom, top_weight, bottom_weight = _taps(height, size, clamps_weights=False)
    left, right, left_weight, right_weight = _taps(width, size, clamps_weights=True)

    def columns_mixed(rows: np.ndarray) -> np.ndarray:
        chosen = pixels[rows].astype(np.int32)
        return chosen[:, left] * left_weight[None, :, None] + chosen[:, right] * right_weight[None, :, None]

    upper = (top_weight[:, None, None] * (columns_mixed(top) >> 4)) >> 16
    lower = (bottom_weight[:, None, None] * (columns_mixed(bottom) >> 4)) >> 16
    return ((upper + lower + 2) >> 2).astype(np.uint8)


def _taps(source: int, target: int, *, clamps_weights: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The two source lines that each target line is mixed from, and their weights times _ONE, all (target,) int32.

    clamps_weights: OpenCV gives a column beyond the border the border's value, but mixes rows there and only clips
    their numbers, which rounds differently.
    """
    scale = 1.0 / (target / source)
    position = ((np.arange(target) + 0.5) * scale - 0.5).astype(np.float32)
    first = np.floor(position).astype(np.int32)
    fraction = position - first.astype(np.float32)
    if clamps_weights:
        outside = (first < 0) | (first >= source - 1)
        first = np.where(outside, first.clip(0, source - 1), first)
        fraction = np.where(outside, np.float32(0), fraction)
    weights = (np.rint((np.float32(1) - fraction) * np.float32(_ONE)), np.rint(fraction * np.float32(_ONE)))
    lines = (first.clip(0, source - 1), (first + 1).clip(0, source - 1))
    return *lines, *(weight.astype(np.int32) for weight in weights)
