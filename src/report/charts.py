"""The pictures of a report: SVG drawn by matplotlib, which is here already and needs no script in the page.

Their colours are the page's variables, so that they follow it from light to dark; texts stay texts, which can be
searched and read aloud.
"""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from src.utils.data_url import data_url

# What matplotlib is told to draw in, and what the page calls it.
_VARIABLES = {"#010101": "var(--ink)", "#020202": "var(--soft)", "#030303": "var(--one)", "#040404": "var(--two)"}
_INK, _SOFT, _ONE, _TWO = _VARIABLES


def reliability_chart(
    rows: np.ndarray, before: np.ndarray | None, confidence: str = "confidence", accuracy: str = "accuracy"
) -> str:
    """Accuracy over confidence: bars of `reliability`'s rows, the diagonal, and a line of `before` the temperature.

    confidence, accuracy: what to call them.
    """

    def draw(axes) -> None:
        bins = len(rows)
        centres = (np.arange(bins) + 0.5) / bins
        axes.plot([0, 1], [0, 1], "--", color=_SOFT, linewidth=1, label="what they should be")
        axes.bar(centres, np.nan_to_num(rows[:, 1]), 0.9 / bins, color=_ONE, label=accuracy)
        if before is not None:
            filled = before[:, 0] > 0
            axes.plot(centres[filled], before[filled, 1], "o-", color=_TWO, markersize=3, label="before calibration")
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel=confidence, ylabel=accuracy)

    return _svg(draw, "reliability", (4.6, 3.6))


def confidence_chart(right: np.ndarray, wrong: np.ndarray, bins: int = 20) -> str:
    """How many images have which confidence, of right and of wrong answers; both (N,) floats."""

    def draw(axes) -> None:
        edges = np.linspace(0, 1, bins + 1)
        axes.hist([right, wrong], edges, stacked=True, color=[_ONE, _TWO], label=["right", "wrong"])
        axes.set(xlim=(0, 1), xlabel="confidence", ylabel="images")

    return _svg(draw, "confidence", (4.6, 3.6))


def ranking_chart(roc: np.ndarray, precision_recall: np.ndarray, positives: float, name: str) -> str:
    """Two curves side by side, points (n, 2) each, and what answers at random have; positives: their share.

    name: another one for each chart of a page.
    """

    def draw(left, right) -> None:
        left.plot([0, 1], [0, 1], "--", color=_SOFT, linewidth=1)
        left.plot(*roc.T, color=_ONE)
        left.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="false positive rate", ylabel="true positive rate")
        right.plot([0, 1], [positives, positives], "--", color=_SOFT, linewidth=1)
        right.plot(*precision_recall.T, color=_TWO)
        right.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")

    return _svg(draw, name, (5.2, 2.7), columns=2)


def curves(history: Sequence[Mapping[str, float | None]], key: str, label: str) -> str:
    """One figure of a run over its epochs: the rows' `key`, and for the loss the held-out loss beside it."""

    def draw(axes) -> None:
        names = [("loss", "training", _ONE), ("eval_loss", "held-out", _TWO)] if key == "loss" else [(key, label, _ONE)]
        for name, text, colour in names:
            points = [(row["epoch"], row[name]) for row in history if row.get(name) is not None]
            if points:
                axes.plot(*zip(*points, strict=True), "o-", color=colour, markersize=3, label=text)
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.get_major_locator().set_params(integer=True)

    return _svg(draw, f"curve of {key}", (4.6, 3.0))


def _svg(draw, name: str, size: tuple[float, float], columns: int = 1) -> str:
    """What `draw`, which gets as many axes as there are columns, draws: the text of an <svg> that fits its place; its
    ids are its own.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings = {
        "svg.fonttype": "none", "svg.hashsalt": name, "text.parse_math": False, "axes.edgecolor": _SOFT,
        "text.color": _INK, "axes.labelcolor": _INK, "xtick.color": _SOFT, "ytick.color": _SOFT,
        "xtick.labelcolor": _INK, "ytick.labelcolor": _INK, "font.size": 10, "font.family": "sans-serif",
    }  # fmt: skip
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=size, layout="constrained")
        figure.patch.set_alpha(0)
        places = figure.subplots(1, columns, squeeze=False)[0]
        draw(*places)
        for axes in places:
            axes.patch.set_alpha(0)
            handles, labels = axes.get_legend_handles_labels()
            if len(handles) > 1:  # above: bars and curves may be anywhere in it
                figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False, fontsize=9)
            axes.spines[["top", "right"]].set_visible(False)
        text = io.StringIO()
        FigureCanvasSVG(figure).print_svg(text, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    return svg.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)


def matrix_picture(share: np.ndarray, least_side: int = 480) -> str:
    """A matrix of shares between 0 and 1 as the data URL of a PNG, a square of whole pixels a cell."""
    import matplotlib

    cell = max(1, -(-least_side // len(share)))
    # Few images in a thousand still have to be seen: the square root lifts them.
    colours = (matplotlib.colormaps["Blues"](np.sqrt(share.clip(0, 1)))[..., :3] * 255).astype(np.uint8)
    return data_url(Image.fromarray(colours.repeat(cell, 0).repeat(cell, 1)).quantize(64), "PNG")
