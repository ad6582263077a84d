"""The true classes behind the C++ program's results, by the name of the result: the picture's without its suffix.

Pictures have a text file of `name:label` lines, as the model zoo's; CIFAR-10's records carry their own.
"""

import itertools
import os
import re
from array import array
from collections.abc import Mapping, Set
from dataclasses import replace
from pathlib import Path

import numpy as np

from src.datasets.cifar10 import PATTERNS, find_folder, open_records
from src.datasets.class_names import Wording, match, require_distinct
from src.datasets.csv_file import open_csv
from src.datasets.listing import class_folders, picture_names
from src.datasets.packed_names import PackedNames
from src.datasets.reading import Reading, as_task
from src.datasets.source import Source
from src.deploy.label_table import HASH_BITS, LabelTable
from src.deploy.manifest import Manifest
from src.utils.errors import ReportedError
from src.utils.files import is_folder, make_folder
from src.utils.shown import printable
from src.utils.text_lines import read_lines

DATASETS = ("imagenet", "cifar10", "folder", "csv")  # those that the C++ program reads and that have labels
_LABEL = re.compile(rb"[0-9]{1,9}")


def result_name(file_name: str) -> str:
    """`n01_7` for `n01_7.JPEG`."""
    return os.path.splitext(file_name)[0]  # noqa: PTH122


def read_labels(dataset: str, path: Path) -> Mapping[str, int]:
    """Read a `name:label` file, or for cifar10 the records (see `cifar10_file`). Labels are not below zero.

    Raises ReportedError for a file that is missing, empty or not of this form, and for a name that occurs twice.
    """
    try:
        if dataset == "cifar10":
            records = open_records(cifar10_file(path))
            return {f"test_batch_{i:05d}": int(label) for i, label in enumerate(records[:, 0])}
        path.stat()  # raises where there is nothing
        return _parse(path)
    except OSError as error:
        raise ReportedError(f"the labels {path} cannot be read: {error.strerror}; give {_expected(dataset)}") from error


def read_csv_labels(path: Path, manifest: Manifest) -> dict[str, np.ndarray]:
    """The labels in a CSV data set by the names of the pictures' results, for each output of the model: int8 (K,), 1, 0
    or -1 for unknown, and of a model with one answer its number, ().

    The CSV file alone is read; where its pictures are does not matter. Raises ReportedError for a class that the model
    does not know, and for two pictures whose results would have the same name.
    """
    source = open_csv(path, replace(manifest.reading(), task=manifest.task), needs_files=False)
    source = as_task(source, manifest.task).for_network(manifest.class_names)
    labels = dict(zip(_csv_result_names(source, path.parent), source.labels, strict=True))
    if len(labels) < len(source):
        raise ReportedError(
            f"{path} names {len(source)} pictures, whose results would have only {len(labels)} different names; give "
            "each picture a name of its own"
        )
    return labels


def link_pictures(path: Path, data: Path, folder: Path) -> None:
    """Make `folder` hold a link to each picture that the CSV file `path` names in the folders below `data`: for the C++
    program, which takes one folder, called as `read_csv_labels` calls their results.

    Raises ReportedError for one that is not there, and when a link cannot be made.
    """
    source = open_csv(path, Reading(str(data)))
    make_folder(folder)
    for i, name in enumerate(_csv_result_names(source, data)):
        picture = Path(source.image_name(i))
        try:
            (folder / (name + picture.suffix)).symlink_to(picture.resolve(strict=True))
        except FileExistsError:  # two pictures of one name, as read_csv_labels says
            continue
        except OSError as error:
            raise ReportedError(f"{picture} cannot be handed on as {name}: {error.strerror}; rename it") from error


def _csv_result_names(source: Source, root: Path) -> list[str]:
    """The names of the results of the pictures of a CSV data set whose paths begin in `root`: those of the files or,
    where a name is in several folders, as view1_frontal.jpg in CheXpert's, of the folders and the file.
    """
    paths, top = [Path(source.image_name(i)) for i in range(len(source))], Path(printable(root))
    names = [result_name(path.name) for path in paths]
    if len(set(names)) == len(names):
        return names
    parts = [path.relative_to(top).parts if path.is_relative_to(top) else path.parts[1:] for path in paths]
    return [result_name("_".join(one)) for one in parts]


def cifar10_file(path: Path) -> Path:
    """`path`, or where that is a folder the test_batch.bin in it or in its cifar-10-batches-bin."""
    return find_folder(path) / PATTERNS["eval"] if is_folder(path) else path


def labels_of_folders(folder: Path) -> list[tuple[str, str, int]]:
    """The pictures in the class folders below `folder`: name, class, and the number of the class in their order.

    The name is the file's; `class/file` for all where the class folders share a name, as those of cameras do: the C++
    program then gives each class a folder of results.

    Raises ReportedError when `folder` cannot be listed, holds no pictures, or two of them, or one's name, would not
    have a result of their own.
    """
    try:
        classes = class_folders(folder)
        found = [(name, of, label) for label, of in enumerate(classes) for name in picture_names(folder / of)]
    except OSError as error:
        raise ReportedError(f"{printable(error.filename)} cannot be read: {error.strerror}") from error
    if not found:
        raise ReportedError(f"{printable(folder)} has no class folders with pictures in them")
    require_distinct([printable(name) for name in classes], printable(folder))
    if len({result_name(name) for name, *_ in found}) < len(found):
        found = [(f"{of}/{name}", of, label) for name, of, label in found]
    first: dict[str, str] = {}
    for name, of, _ in found:
        path = name if "/" in name else f"{of}/{name}"
        shown = printable(path)
        if shown != path:
            raise ReportedError(f"{folder} holds the file {shown}, whose name is not plain text; rename it")
        other = first.setdefault(result_name(name), shown)
        if other != shown:
            raise ReportedError(
                f"{folder} holds {other} and {shown}, whose results would have the same name; rename one of them"
            )
    return found


def outputs_of_folders(folder: Path, manifest: Manifest) -> tuple[dict[str, int], str]:
    """Which of the model's outputs stands for each class folder in `folder`, and, if that is a guess, a sentence.

    Raises ReportedError for a class that the model has not.
    """
    classes = class_folders(folder)
    wording = Wording(printable(folder), noun="class folders")
    found = match([printable(name) for name in classes], manifest.class_names, wording)
    return dict(zip(classes, found.outputs.tolist(), strict=True)), found.guess


def check_labels(labels: Mapping[str, int | np.ndarray], names: Set[str], num_classes: int, what: str) -> None:
    """Raise ReportedError unless exactly `names`, what there is a `what` for, have labels, below num_classes."""
    unlabelled = [name for name in names if name not in labels]
    spare = [name for name in labels if name not in names]
    for odd, found in ((spare, f"label but no {what}"), (unlabelled, f"{what} but no label")):
        if odd:
            raise ReportedError(
                f"{len(odd)} of {len(labels) + len(unlabelled)} images have a {found}, first {printable(min(odd))}; "
                "give the label file of exactly these pictures"
            )
    for name, label in labels.items():
        if np.ndim(label) == 0 and label >= num_classes:
            raise ReportedError(
                f"{printable(name)} has the label {label}, expected 0 to {num_classes - 1}, the model's classes; "
                "give the label file of this model's data set"
            )


def _parse(path: Path) -> LabelTable:
    names, labels, hashes = PackedNames(), array("i"), array("I")
    for first, lines in read_lines(path, str(path), "lines of the form name:label"):
        filled = [line for line in lines if line.strip()]
        # Without a tuple for each line: the garbage collector would look through all of them again and again.
        colons = [line.rfind(b":") for line in filled]
        texts = [line[colon + 1 :].strip() for line, colon in zip(filled, colons, strict=True)]
        keys = [line[:colon] for line, colon in zip(filled, colons, strict=True)]
        if not (all(map(_LABEL.fullmatch, texts)) and all(map(bytes.strip, keys)) and min(colons, default=1) > 0):
            raise ReportedError(_problem(path, first, lines))
        keys = list(map(_key, keys))
        names.extend(keys)
        labels.extend(map(int, texts))
        hashes.extend([hash(key) & HASH_BITS for key in keys])
    if not labels:
        raise ReportedError(f"{path} holds no labels; expected a line name:label for each picture")
    table = LabelTable(names, labels, hashes)
    if (again := table.first_repeated()) is not None:
        filled = (
            first + i for first, lines in read_lines(path, "", "") for i, line in enumerate(lines) if line.strip()
        )
        number = next(itertools.islice(filled, again, None))
        raise ReportedError(
            f"{path} names {printable(names.raw(again))} a second time in line {number}; keep one of them"
        )
    return table


def _key(name: bytes) -> bytes:
    return os.path.splitext(name)[0] if name[:1] == b"." or b"/" in name else name.rsplit(b".", 1)[0]  # noqa: PTH122


def _problem(path: Path, first: int, lines: list[bytes]) -> str:
    """The sentence for the first line that is not of the form."""
    parts = ((number, line, line.rpartition(b":")) for number, line in enumerate(lines, first) if line.strip())
    number, line = next(
        (number, line)
        for number, line, (name, colon, label) in parts
        if not (colon and name.strip() and _LABEL.fullmatch(label.strip()))
    )
    return (
        f"{path} has {printable(line.strip())[:80]!r} in line {number}; expected the form name:label, "
        "the label being the number of the class"
    )


def _expected(dataset: str) -> str:
    if dataset == "cifar10":
        return "CIFAR-10's test_batch.bin or its folder"
    return "the file that python -m src.deploy.write_labels writes"
