"""Random erasing (Zhong et al. 2020): a rectangle of a training picture is painted over."""

import numpy as np

from src.datasets.draws import Shown

AREA, RATIO = (0.02, 0.33), (0.3, 3.3)  # of the rectangle: its share of the picture, its height by its width
_TRIES = 10  # to find one that fits, as torchvision's and timm's


def erase(images: np.ndarray, shown: Shown, probability: float) -> np.ndarray:
    """`images`, float32 (B, C, S, S) as the network gets them, with a rectangle of each, at that probability, set to 0:
    the mean colour. `shown` says which pictures they are: the rectangles follow from that alone. May be done in place.
    """
    areas = erased_areas(images.shape[2], probability, shown.uniforms("random_erasing", 1 + 4 * _TRIES))
    chosen = np.flatnonzero(areas[:, 2])
    if len(chosen) and not images.flags.writeable:
        images = images.copy()
    for i in chosen:
        top, left, height, width = areas[i]
        images[i, :, top : top + height, left : left + width] = 0
    return images


def erased_areas(size: int, probability: float, uniforms: np.ndarray) -> np.ndarray:
    """Top, left, height, width of a rectangle for each picture of `size` pixels a side, int64 (n, 4); height 0: none.

    The share of the area is uniform in AREA, the logarithm of the ratio uniform in that of RATIO, so that tall and wide
    ones are equally frequent, and the place uniform among those inside. uniforms: (n, 1 + 4 * tries), from 0 to 1.
    """
    tries = uniforms[:, 1:].reshape(len(uniforms), -1, 4)
    area = size * size * _between(*AREA, tries[..., 0])
    ratio = np.exp(_between(*np.log(RATIO), tries[..., 1]))
    sides = np.stack([np.sqrt(area * ratio), np.sqrt(area / ratio)], -1).round().astype(np.int64).clip(1)
    fits = (sides < size).all(-1)
    rows, first = np.arange(len(uniforms)), fits.argmax(1)
    sides = sides[rows, first]
    corners = (tries[rows, first, 2:] * (size - sides + 1)).astype(np.int64)
    done = (uniforms[:, 0] < probability) & fits.any(1)
    return np.where(done[:, None], np.concatenate([corners, sides], 1), 0)


def _between(low: float, high: float, uniforms: np.ndarray) -> np.ndarray:
    return low + (high - low) * uniforms
