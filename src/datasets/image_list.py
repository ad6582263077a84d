"""A text file of `path label` lines."""

import os
from pathlib import Path

import numpy as np

from src.datasets.image_files import ImageFiles, printable
from src.datasets.source import Source
from src.utils.errors import ReportedError

MAX_CLASSES = 100_000  # a stray huge number is a mistake, and would make as many class names


def open_list(path: Path) -> Source:
    """Open a UTF-8 text file; on each line the last word is the label, from 0, all before it the picture's path.

    Paths may hold spaces and are relative to the list's folder. Empty lines are skipped. The classes are named by their
    numbers, up to the largest label. Raises ReportedError that names the first bad line.
    """
    if not path.is_file():
        raise ReportedError(f"{printable(path)} is no file; expected a text file of `path label` lines")
    try:
        lines = path.read_text("utf-8-sig").split("\n")  # splitlines would also split at U+2028 and the like
    except UnicodeDecodeError as error:
        raise ReportedError(f"{printable(path)} is not UTF-8 text; expected `path label` lines") from error
    entries = [_parse(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not entries:
        raise ReportedError(f"{printable(path)} is empty; expected `path label` lines")
    paths, labels = zip(*entries, strict=True)
    images = ImageFiles(path.parent, paths)
    class_names = tuple(str(label) for label in range(max(labels) + 1))
    return Source("list", class_names, np.array(labels, np.int32), True, images, images.name)


def _parse(path: Path, number: int, line: str) -> tuple[str, int]:
    where = f"{printable(path)} line {number}"
    words = line.strip().rsplit(maxsplit=1)
    if len(words) != 2:
        raise ReportedError(f"{where}: expected `path label`, found {printable(line.strip())[:80]!r}")
    image, label = words
    if not (label.isascii() and label.isdigit() and len(label) <= 9 and int(label) < MAX_CLASSES):
        raise ReportedError(
            f"{where}: the label should be an integer from 0 to {MAX_CLASSES - 1}, found {printable(label)[:80]!r}"
        )
    if not os.path.isfile(path.parent / image):  # noqa: PTH113, Path.is_file raises for a name that is too long
        raise ReportedError(f"{where}: there is no file {printable(path.parent / image)[-300:]}")
    return image, int(label)
