"""A CSV file of pictures and their labels, one class each or several (`csv_layout.py` says which columns are known)."""

import hashlib
import itertools
import os
from array import array
from pathlib import Path

import numpy as np

from src.datasets.class_names import in_order, require_distinct
from src.datasets.csv_layout import EXPECTED, MURA_LABEL, PATIENT, layout_of
from src.datasets.csv_places import Places
from src.datasets.csv_rows import read_rows
from src.datasets.identity import identity_of_files
from src.datasets.image_files import ImageFiles
from src.datasets.listing import MISSING, UNDECODABLE, LeftOut, picture_names
from src.datasets.packed_names import PackedNames
from src.datasets.preprocessing_choices import FILES
from src.datasets.reading import NO_CLASS, UNCERTAIN, Reading
from src.datasets.repeated import repeated
from src.datasets.source import Source
from src.utils.errors import ReportedError
from src.utils.shown import printable

MAX_CLASSES = 100_000
MAX_NAME = 1000  # characters of a class
MAX_CELLS = 2**31  # of the matrix of several labels, a byte each
_REMEMBERED = 10_000  # files known to be there
_TOGETHER = 2**20  # labels
_VALUES = {"1": 1, "1.0": 1, "0": 0, "0.0": 0, "": -1}
_NOT_SURE = ("-1", "-1.0")


def open_csv(path: Path, reading: Reading, *, needs_files: bool = True) -> Source:
    """Open a UTF-8 CSV file. Classes are sorted by name, or by value where all are numbers; those that have a column
    each are in the columns' order.

    needs_files: the pictures have to be there; without it the labels alone are of use. Raises ReportedError that names
    the line of the first thing that is wrong.
    """
    where = printable(path)
    if not path.is_file():
        raise ReportedError(f"{where} is no file; expected {EXPECTED}")
    table = _Table(path, Path(reading.image_root) if reading.image_root else path.parent, reading, needs_files)
    for first, rows in read_rows(path, where):
        table.take(first, rows)
    return table.source()


class _Table:
    """What has been read so far, in little memory: no object for each line stays."""

    def __init__(self, path: Path, root: Path, reading: Reading, needs_files: bool) -> None:
        self.path, self.root, self.reading, self.where = path, root, reading, printable(path)
        self.needs_files, self.layout = needs_files, None
        self.names, self.undecodable = PackedNames(), LeftOut()
        self.places = Places(path, root, skips_missing=reading.skips_missing)
        self.codes: dict[str, int] = {}  # of the class names in a label column, in the order in which they came
        self.labels, self.counts = array("i"), array("B")  # of each picture one after another, and how many
        self.matrix = array("b")  # where each class has a column
        self.groups, self.keys = array("q"), array("q")  # of each picture, its patient's and its own
        self.has_several = self.has_group = False
        self._there: set[str] = set()  # some files that are there: the same one often comes again

    def take(self, numbers: list[int], rows: list[list[str]]) -> None:
        """Read a block of rows; the very first is the header."""
        if self.layout is None:
            self.layout = layout_of(rows[0], self.where)
            if not self.layout.is_mura:
                numbers, rows = numbers[1:], rows[1:]
        images = self._plain(rows)
        if images is None:
            images = []
            for number, row in zip(numbers, rows, strict=True):
                images += self._images(number, self._cells(number, row))
        self.names.extend(map(os.fsencode, images))
        self.keys.extend(map(hash, images))
        if len(self._there) > _REMEMBERED:
            self._there.clear()
        self._there.update(itertools.islice(images, _REMEMBERED))

    def _plain(self, rows: list[list[str]]) -> list[str] | None:
        """Take a block of rows column by column, in a quarter of the time; return the paths of its pictures.

        None, with nothing taken, when anything in it is odd or wrong: row by row it is found what that is.
        """
        layout, before = self.layout, len(self.codes)
        if layout.is_mura or set(map(len, rows)) != {layout.width}:
            return None
        images = [row[layout.image].strip() for row in rows]
        unknown = set(images) - self._there
        if "" in unknown or (self.needs_files and not all(map(self._is_there, unknown))):
            return None
        try:
            if layout.label >= 0:
                labels = [row[layout.label] for row in rows]
                codes = {label: self._codes(0, label.split("|")) for label in dict.fromkeys(labels)}
            else:
                columns = [self._column([row[column] for row in rows], name) for name, column in layout.classes]
        except ReportedError:
            for name in list(self.codes)[before:]:
                del self.codes[name]
            return None
        groups = [row[layout.group].strip() if layout.group >= 0 else "" for row in rows]
        if layout.group < 0 and "patient" in "".join(images):
            groups = [found[1] if (found := PATIENT.search(name)) else "" for name in images]
        if layout.label >= 0:
            self.has_several |= any("|" in label for label in codes)
            self.labels.extend(itertools.chain.from_iterable(map(codes.__getitem__, labels)))
            self.counts.extend([len(codes[label]) for label in labels])
        else:
            self.matrix.frombytes(np.array(columns, np.int8).T.tobytes())
        self._take_groups(groups)
        self._count_undecodable(images)
        return images

    def _count_undecodable(self, images: list[str]) -> None:
        together = "".join(images).lower()
        for image in images if any(ending in together for ending in UNDECODABLE) else ():
            if image.lower().endswith(UNDECODABLE):
                self.undecodable.add("", self.root / image)

    def _is_there(self, name: str) -> bool:
        return os.path.isfile(f"{self.root}/{name}" if name[:1] != "/" else name)  # noqa: PTH113, a million of them

    def _column(self, cells: list[str], name: str) -> list[int]:
        values = {cell: self._value(0, cell, name) for cell in set(cells)}
        return list(map(values.__getitem__, cells))

    def _take_groups(self, groups: list[str]) -> None:
        codes = {group: _group_code(group) for group in set(groups)}
        self.has_group |= any(codes)
        self.groups.extend(map(codes.__getitem__, groups))

    def source(self) -> Source:
        """The data set of all rows."""
        left_out = self.places.left_out
        if not len(self.names) and left_out.count:
            raise ReportedError(
                f"none of the {left_out.count[MISSING]} pictures of {self.where} is there, first "
                f"{left_out.example[MISSING]}; give --image_root, the folder that their paths begin in"
            )
        if not len(self.names):
            raise ReportedError(f"{self.where} holds no picture below its first line; expected {EXPECTED}")
        class_names, labels = self._labels()
        require_distinct(class_names, self.where)
        images = ImageFiles(self.root, self.names)
        keys, self.keys = self.keys, array("q")  # this object stays
        return Source(
            "csv", class_names, labels, form=FILES, read=images, image_name=images.name, noticed=images.noticed,
            content=images.content, content_size=images.size, state=images.state, origin=self.where,
            identity=lambda: identity_of_files(self.root, self.names),
            undecodable=(self.undecodable.count[""], self.undecodable.example.get("", "")),
            groups=np.frombuffer(self.groups, np.int64) if self.has_group else None,
            remarks=(*repeated(np.frombuffer(keys, np.int64), labels, images.name), *self._left_out()),
        )  # fmt: skip

    def _left_out(self) -> list[str]:
        return [f"left out: {', '.join(found)}"] if (found := self.places.left_out.sentences()) else []

    def _cells(self, number: int, row: list[str]) -> list[str]:
        width = self.layout.width
        if len(row) < width or any(row[width:]):
            raise self._wrong(number, f"found {len(row)} fields, expected {width} as in line 1")
        return row

    def _images(self, number: int, row: list[str]) -> list[str]:
        """Take the labels and the group of a row; return the paths of its pictures, from the root."""
        name = self.places.spelt(row[self.layout.image].strip())
        if not name:
            raise self._wrong(number, "found no image, expected the path of a picture")
        if self.layout.is_mura:
            images, labels = self._mura(number, row, name)
        else:
            images, labels = self._located(number, name), None
        group = row[self.layout.group].strip() if self.layout.group >= 0 else ""
        if self.layout.group < 0 and (found := PATIENT.search(name)):
            group = found[1]
        self._take_groups([group] * len(images))
        self._count_undecodable(images)
        for _ in images:
            if labels is not None:
                self._add_names(number, labels)
            elif self.layout.label >= 0:
                self._add_names(number, row[self.layout.label].split("|"))
            else:
                self._add_values(number, row)
        return images

    def _mura(self, number: int, row: list[str], name: str) -> tuple[list[str], list[str]]:
        found = MURA_LABEL.search(name)
        if not found:
            raise self._wrong(
                number, f"found {printable(name)[:80]!r}, expected study1_positive or study1_negative in it"
            )
        if self.layout.width == 1:
            return self._located(number, name), [found[1]]
        if row[1].strip() not in ("0", "1"):
            raise self._wrong(number, f"found the label {printable(row[1])[:40]!r}, expected 0 or 1")
        folder = self.root / name
        try:
            pictures = picture_names(folder)
        except OSError as error:
            if self.places.is_skipped(name):
                return [], []
            raise self._wrong(
                number, f"{printable(folder)} cannot be read: {error.strerror}{self.places.advice(name)}"
            ) from error
        return [f"{name.rstrip('/')}/{one}" for one in pictures], [("negative", "positive")[int(row[1])]]

    def _add_names(self, number: int, names: list[str]) -> None:
        codes = self._codes(number, names)
        self.has_several |= len(names) > 1
        self.labels.extend(codes)
        self.counts.append(len(codes))

    def _codes(self, number: int, names: list[str]) -> list[int]:
        """The codes of a picture's classes, of new ones too."""
        if not all(map(str.strip, names)):
            raise self._wrong(number, "found an empty label, expected the name of a class; write No Finding for none")
        if max(map(len, names)) > MAX_NAME:
            raise self._wrong(
                number, f"found a label of {max(map(len, names))} characters, expected the name of a class"
            )
        codes = {self.codes.setdefault(name.strip(), len(self.codes)) for name in names}
        if len(self.codes) > MAX_CLASSES:
            raise self._wrong(number, f"found more than {MAX_CLASSES} different labels; give the column of the classes")
        if len(codes) > 255:
            raise self._wrong(number, f"found {len(codes)} labels of one picture, expected at most 255")
        if len(codes) > 1 and self.reading.task == "single":
            raise self._wrong(number, f"found {len(codes)} labels with task single; give --task multilabel")
        return sorted(codes)

    def _add_values(self, number: int, row: list[str]) -> None:
        for name, column in self.layout.classes:
            self.matrix.append(self._value(number, row[column], name))

    def _value(self, number: int, cell: str, name: str) -> int:
        cell = cell.strip()
        value = UNCERTAIN[self.reading.uncertain] if cell in _NOT_SURE else _VALUES.get(cell)
        if value is None:
            raise self._wrong(
                number,
                f"found {printable(cell)[:40]!r} in the column {name!r}, expected 1, 0, -1 or nothing; remove "
                "columns that are no classes, and call one that holds the names of classes label",
            )
        return value

    def _labels(self) -> tuple[tuple[str, ...], np.ndarray]:
        if self.layout.label < 0:
            names = tuple(name for name, _ in self.layout.classes)
            return names, np.frombuffer(self.matrix, np.int8).reshape(-1, len(names))
        odd = next((name for name in self.codes if not name.isprintable()), None)
        if odd is not None:
            raise ReportedError(f"{self.where}: the class {printable(odd)!r} is not plain text; rename it")
        several = self.has_several if self.reading.task == "auto" else self.reading.task == "multilabel"
        names = in_order([name for name in self.codes if not (several and name.lower() == NO_CLASS)])
        place = {name: i for i, name in enumerate(names)}
        outputs = np.array([place.get(name, -1) for name in self.codes], np.int32)
        found = outputs[np.frombuffer(self.labels, np.int32)]
        if not several:
            return tuple(names), found
        if len(self.counts) * len(names) > MAX_CELLS:
            raise ReportedError(f"{self.where} has {len(self.counts)} pictures of {len(names)} classes, too many for "
                                "several labels a picture; give --task single")  # fmt: skip
        matrix = np.zeros((len(self.counts), len(names)), np.int8)
        pictures = np.repeat(np.arange(len(self.counts), dtype=np.int32), np.frombuffer(self.counts, np.uint8))
        for start in range(0, len(found), _TOGETHER):  # indices of all of them at once would take gigabytes
            part = slice(start, start + _TOGETHER)
            shown = found[part] >= 0
            matrix[pictures[part][shown], found[part][shown]] = 1
        return tuple(names), matrix

    def _located(self, number: int, name: str) -> list[str]:
        """The path of a picture from the root, or none where it is left out."""
        place, problem = self.places.find(name) if self.needs_files else (name, "")
        if problem:
            raise self._wrong(number, problem)
        return [place] if place else []

    def _wrong(self, number: int, what: str) -> ReportedError:
        return ReportedError(f"{self.where} line {number}: {what}")


def _group_code(group: str) -> int:
    """A number for each group, -1 for none."""
    return int.from_bytes(hashlib.blake2b(group.encode(), digest_size=8).digest(), "little") >> 1 if group else -1
