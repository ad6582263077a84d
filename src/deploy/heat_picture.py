"""A heat map over the picture that it is of, as the network saw it: beside the picture itself, one PNG."""

from pathlib import Path

import numpy as np

from src.datasets.preprocessing import Preprocessing
from src.datasets.preview import shown_pixels
from src.utils.heat import overlay
from src.utils.plotting import words, write_picture

_SIDE = 320  # pixels of each of the two pictures at least


def write_heat_picture(
    path: Path, image: np.ndarray, preprocessing: Preprocessing, heat: np.ndarray, title: str
) -> None:
    """Write the PNG `path`: the network's input `image`, float32 (C, S, S), beside it under its heat map (h, w).

    title: what the heat is the evidence for. Raises ReportedError when the disk refuses.
    """
    pixels = shown_pixels(image, preprocessing)
    side = max(_SIDE, pixels.shape[0])

    def draw(target: Path) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        with words([title]) as (shown,):
            figure = Figure(figsize=(2 * side / 100, (side + 32) / 100), dpi=100)
            top = side / (side + 32)
            for place, (picture, text) in enumerate(
                ((pixels, "as the network sees it"), (overlay(pixels, heat), shown))
            ):
                axes = figure.add_axes((place / 2, 0, 0.495, top))
                axes.imshow(picture, interpolation="nearest", aspect="auto")
                axes.set_axis_off()
                axes.set_title(text if len(text) <= 46 else text[:45] + "…", fontsize=10)
            FigureCanvasAgg(figure).print_png(target)

    write_picture(path, draw)
