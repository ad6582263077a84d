"""A picture of what the network is shown: a sheet of one training batch after augmentation."""

import os
from collections.abc import Sequence

import numpy as np

from src.datasets.preprocessing import Preprocessing
from src.utils.plotting import words

MAX_IMAGES, COLUMNS = 32, 8


def save_preview(
    images: np.ndarray,
    labels: np.ndarray,
    preprocessing: Preprocessing,
    class_names: tuple[str, ...],
    path: str | os.PathLike,
) -> None:
    """Write the first 32 of `images`, float32 (B, C, S, S) as the network gets them, and their class names as a PNG."""
    with words(class_names) as names:
        _save(images, labels, preprocessing, names, path)


def shown_pixels(image: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """A network's input, float32 (C, S, S), as a picture again: (S, S, 3), between 0 and 1; grey ones stay grey."""
    pixels = (image.transpose(1, 2, 0) * preprocessing.std + preprocessing.mean).clip(0, 1)
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))  # of one channel matplotlib would draw false colours


def _save(
    images: np.ndarray,
    labels: np.ndarray,
    preprocessing: Preprocessing,
    class_names: Sequence[str],
    path: str | os.PathLike,
) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # 0.5 s to import: not for other ranks or a mistake
    from matplotlib.figure import Figure

    shown = min(len(images), MAX_IMAGES)
    rows, columns = -(-shown // COLUMNS), min(shown, COLUMNS)
    figure = Figure(figsize=(1.4 * columns, 1.6 * rows), dpi=110)
    # One coordinate system, a unit a picture: with one of its own for each, drawing them took two seconds.
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, columns), ylim=(rows, 0), autoscale_on=False)
    axes.set_axis_off()
    for i, (image, label) in enumerate(zip(images[:shown], labels[:shown], strict=False)):
        row, column = divmod(i, columns)
        pixels = shown_pixels(image, preprocessing)
        extent = (column + 0.05, column + 0.95, row + 0.96, row + 0.17)
        axes.imshow(pixels, interpolation="nearest", extent=extent, aspect="auto")
        names = [class_names[k] for k in ([label] if np.ndim(label) == 0 else np.flatnonzero(label == 1))]
        name = ", ".join(names) or "none"
        name = name if len(name) <= 18 else name[:17] + "…"
        axes.text(column + 0.5, row + 0.15, name, ha="center", va="bottom", fontsize=8)
    FigureCanvasAgg(figure).print_png(path)
