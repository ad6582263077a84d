"""Weights of the classes in the loss, from how often each occurs or from a file."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src.datasets.class_names import normalised, some
from src.datasets.source import Source
from src.utils.errors import ReportedError
from src.utils.shown import printable
from src.utils.text_lines import read_lines

LINES = "`class weight` lines, such as `cat 2.5`"


def class_weights(source: Source, wanted: str, power: float, class_names: Sequence[str]) -> list[float]:
    """One weight for each of `class_names`; empty for `none`. wanted: none, auto, or a file (see `read_weights`).

    auto: (1 / pictures of the class) ** power, scaled so that the mean over the classes that occur is 1; 1 for the
    others. Of several labels a picture, for the positive ones: (negatives / positives) ** power. Raises ReportedError.
    """
    if wanted == "none":
        return []
    if wanted != "auto":
        return read_weights(Path(wanted), class_names)
    if source.is_multilabel:
        positive, negative = ((source.labels == value).sum(0).astype(np.float64) for value in (1, 0))
        occurs = (positive > 0) & (negative > 0)
        ratio = negative / np.maximum(positive, 1)
        return np.where(occurs, np.where(occurs, ratio, 1) ** power, 1.0).tolist()
    counts = np.bincount(source.labels, minlength=len(class_names)).astype(np.float64)
    rarity = np.maximum(counts, 1) ** -power
    return np.where(counts > 0, rarity / rarity[counts > 0].mean(), 1.0).tolist()


def read_weights(path: Path, class_names: Sequence[str]) -> list[float]:
    """Read a UTF-8 text file of `class weight` lines, one for each of `class_names`, in any order.

    Raises ReportedError that names the first bad line, or the classes without one.
    """
    where = printable(path)
    place = {normalised(name): i for i, name in enumerate(class_names)}
    weights: list[float | None] = [None] * len(class_names)
    try:
        for first, lines in read_lines(path, where, LINES):
            for number, line in enumerate(lines, first):
                if line.strip():
                    _take(f"{where} line {number}", line.decode().rsplit(None, 1), place, weights)
    except OSError as error:
        raise ReportedError(f"{where} cannot be read: {error.strerror}; expected {LINES}") from error
    missing = [name for name, weight in zip(class_names, weights, strict=True) if weight is None]
    if missing:
        raise ReportedError(f"{where} has no weight for {len(missing)} classes: {some(missing)}; expected {LINES}")
    if not any(weights):
        raise ReportedError(
            f"{where} gives every class the weight 0, so that there is nothing to learn; expected {LINES}"
        )
    return weights


def _take(where: str, words: list[str], place: dict[str, int], weights: list[float | None]) -> None:
    if len(words) != 2:
        raise ReportedError(f"{where}: found {printable(words[0])[:80]!r}, expected {LINES}")
    name, text = words
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not (0 <= weight <= 1e6):
        raise ReportedError(f"{where}: found the weight {printable(text)[:40]!r}, expected a number from 0 to 1000000")
    at = place.get(normalised(name))
    if at is None:
        raise ReportedError(f"{where}: found the class {printable(name)[:80]!r}, expected one of {some(list(place))}")
    if weights[at] is not None:
        raise ReportedError(f"{where}: the class {printable(name)!r} is given a second time; keep one of the lines")
    weights[at] = weight
