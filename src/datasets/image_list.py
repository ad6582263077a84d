"""A text file of `path label` lines."""

import os
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from src.datasets.identity import identity_of_files
from src.datasets.image_files import ImageFiles, printable
from src.datasets.listing import UNDECODABLE
from src.datasets.packed_names import PackedNames
from src.datasets.source import Source
from src.utils.errors import ReportedError
from src.utils.text_lines import read_lines

MAX_CLASSES = 100_000  # a stray huge number is a mistake, and would make as many class names
MAX_DIGITS = 9
LINES = "a text file of `path label` lines"
_UNDECODABLE = tuple(map(os.fsencode, UNDECODABLE))
_REMEMBERED = 10_000  # files known to be there: the same one often comes again


def open_list(path: Path) -> Source:
    """Open a UTF-8 text file; on each line the last word is the label, from 0, all before it the picture's path.

    Paths may hold spaces and are relative to the list's folder. Empty lines are skipped. The classes are named by their
    numbers, up to the largest label. Raises ReportedError that names the first bad line.
    """
    names, labels = PackedNames(), array("i")
    for first, lines in read_lines(path, printable(path), LINES):
        names.extend(_paths(path, first, lines, labels))
    if not labels:
        raise ReportedError(f"{printable(path)} is empty; expected {LINES}")
    images = ImageFiles(path.parent, names)
    undecodable = [i for i in range(len(names)) if names.raw(i).lower().endswith(_UNDECODABLE)]
    numbers = np.frombuffer(labels, np.int32)
    smallest, largest = int(numbers.min()), int(numbers.max())
    from_one = f"no picture for the labels below {smallest}, which are classes too: labels count from 0"
    return Source(
        "list",
        tuple(map(str, range(largest + 1))),
        numbers,
        encoded=True,
        read=images,
        image_name=images.name,
        noticed=images.noticed,
        origin=printable(path),
        numbered=True,
        identity=lambda: identity_of_files(path.parent, names),
        remarks=(from_one,) if smallest else (),
        undecodable=(len(undecodable), images.name(undecodable[0]) if undecodable else ""),
    )


def _paths(path: Path, first: int, lines: list[bytes], labels: array) -> Iterator[bytes]:
    """The path on each line that is not empty; its label is appended to `labels`."""
    folder, known = os.fsencode(path.parent) + b"/", set()
    for number, line in enumerate(lines, first):
        words = line.rsplit(None, 1)
        if not words:
            continue
        image, label = words[0].strip() if len(words) == 2 else b"", words[-1]
        if not image or not label.isdigit() or len(label) > MAX_DIGITS or int(label) >= MAX_CLASSES:
            raise ReportedError(f"{printable(path)} line {number}: {_problem(line.strip())}")
        if image not in known:
            if not os.path.isfile(folder + image if image[:1] != b"/" else image):  # noqa: PTH113
                there = printable(path.parent / os.fsdecode(image))
                raise ReportedError(f"{printable(path)} line {number}: there is no file {there[-300:]}")
            if len(known) == _REMEMBERED:
                known.clear()
            known.add(image)
        labels.append(int(label))
        yield image


def _problem(line: bytes) -> str:
    words = line.rsplit(None, 1)
    if len(words) != 2:
        return f"expected `path label`, found {printable(line)[:80]!r}"
    return f"the label should be an integer from 0 to {MAX_CLASSES - 1}, found {printable(words[1])[:80]!r}"
