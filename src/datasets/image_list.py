"""A text file of `path label` lines."""

import itertools
import os
from array import array
from pathlib import Path

import numpy as np

from src.datasets.identity import identity_of_files
from src.datasets.image_files import ImageFiles
from src.datasets.listing import UNDECODABLE, LeftOut
from src.datasets.packed_names import PackedNames
from src.datasets.preprocessing_choices import FILES
from src.datasets.repeated import repeated
from src.datasets.source import Source
from src.utils.errors import ReportedError
from src.utils.shown import printable
from src.utils.text_lines import read_lines

MAX_CLASSES = 100_000  # a stray huge number is a mistake, and would make as many class names
MAX_DIGITS = 9
LINES = "`path label` lines"
_UNDECODABLE = tuple(map(os.fsencode, UNDECODABLE))
_REMEMBERED = 10_000  # files known to be there: the same one often comes again


def open_list(path: Path) -> Source:
    """Open a UTF-8 text file; on each line the last word is the label, from 0, all before it the picture's path.

    Paths may hold spaces and are relative to the list's folder. Empty lines are skipped. The classes are named by their
    numbers, up to the largest label. Raises ReportedError that names the first bad line.
    """
    if not path.is_file():
        raise ReportedError(f"{printable(path)} is no file; expected a text file of {LINES}")
    names, labels, keys, undecodable = PackedNames(), array("i"), array("q"), LeftOut()
    existing: set[bytes] = set()
    for first, lines in read_lines(path, printable(path), LINES):
        images, numbers = _parse(path, first, lines)
        _require_files(path, first, lines, images, existing)
        names.extend(images)
        labels.extend(numbers)
        keys.extend(map(hash, images))
        for image in images:
            if image.lower().endswith(_UNDECODABLE):
                undecodable.add("", path.parent / os.fsdecode(image))
    if not labels:
        raise ReportedError(f"{printable(path)} is empty; expected {LINES}")
    images = ImageFiles(path.parent, names)
    numbers = np.frombuffer(labels, np.int32)
    smallest, largest = int(numbers.min()), int(numbers.max())
    from_one = f"no picture for the labels below {smallest}, which are classes too: labels count from 0"
    return Source(
        "list",
        tuple(map(str, range(largest + 1))),
        numbers,
        form=FILES,
        read=images,
        image_name=images.name,
        noticed=images.noticed,
        content=images.content,
        content_size=images.size,
        state=images.state,
        origin=printable(path),
        numbered=True,
        identity=lambda: identity_of_files(path.parent, names),
        remarks=((from_one,) if smallest else ()) + repeated(np.frombuffer(keys, np.int64), numbers, images.name),
        undecodable=(undecodable.count[""], undecodable.example.get("", "")),
    )


def _parse(path: Path, first: int, lines: list[bytes]) -> tuple[list[bytes], list[int]]:
    """The paths and the labels of the lines that are not empty. Raises ReportedError that names the first bad one."""
    filled = [stripped for line in lines if (stripped := line.strip())]
    if not filled:
        return [], []
    # Without a list or tuple for each line: the garbage collector would look through all of them again and again.
    spaces = [line.rfind(b" ") for line in filled]
    texts = [line[space + 1 :] for line, space in zip(filled, spaces, strict=True)]
    if min(spaces) > 0 and b"".join(texts).isdigit() and max(map(len, texts)) <= MAX_DIGITS:
        labels = list(map(int, texts))
        if max(labels) < MAX_CLASSES:
            return [line[:space].rstrip() for line, space in zip(filled, spaces, strict=True)], labels
    for number, line in enumerate(lines, first):
        if line.strip() and (problem := _problem(line.strip())):
            raise ReportedError(f"{printable(path)} line {number}: {problem}")
    words = [line.rsplit(None, 1) for line in filled]  # separated by tabs, say
    return [image for image, _ in words], [int(label) for _, label in words]


def _require_files(path: Path, first: int, lines: list[bytes], images: list[bytes], existing: set[bytes]) -> None:
    """Raise ReportedError, naming the line, unless all `images` are files. `existing` remembers some that are."""
    folder = os.fsencode(path.parent)
    missing = {name for name in set(images) - existing if not os.path.isfile(os.path.join(folder, name))}  # noqa: PTH113, PTH118
    if missing:
        filled = (first + i for i, line in enumerate(lines) if line.strip())
        number, name = next(pair for pair in zip(filled, images, strict=True) if pair[1] in missing)
        there = printable(path.parent / os.fsdecode(name))
        raise ReportedError(f"{printable(path)} line {number}: there is no file {there[-300:]}")
    if len(existing) > _REMEMBERED:
        existing.clear()
    existing.update(itertools.islice(images, _REMEMBERED))


def _problem(line: bytes) -> str:
    words = line.rsplit(None, 1)
    if len(words) != 2:
        return f"expected `path label`, found {printable(line)[:80]!r}"
    if words[1].isdigit() and len(words[1]) <= MAX_DIGITS and int(words[1]) < MAX_CLASSES:
        return ""
    return f"the label should be an integer from 0 to {MAX_CLASSES - 1}, found {printable(words[1])[:80]!r}"
