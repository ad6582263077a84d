"""Which files in a folder are pictures and which folders are classes; what is neither is counted, not dropped unsaid.

ascend310_infer/src/dataset.cc lists the same.
"""

import contextlib
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from src.datasets.class_names import in_order
from src.utils.file_kind import begins_as_photo
from src.utils.shown import printable

DECODABLE = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".tif", ".tiff")
# Pictures to a person, which nothing here can decode: they are listed, so that they are reported and not left out.
UNDECODABLE = (".gif", ".webp", ".heic", ".heif", ".avif", ".jxl", ".jp2")
EXTENSIONS = DECODABLE + UNDECODABLE
# Of macOS, Python, Synology, Linux, Windows, QNAP, NetApp.
_SYSTEM_FOLDERS = frozenset((
    "__macosx", "network trash folder", "temporary items", "__pycache__", "@eadir", "#recycle", "#snapshot",
    "lost+found", "$recycle.bin", "recycler", "system volume information", "found.000", "@recycle",
    "@recently-snapshot", "~snapshot",
))  # fmt: skip
_SYSTEM_FILES = frozenset(("thumbs.db", "ehthumbs.db", "desktop.ini"))
_MAX_DEPTH = 8  # of folders in a class folder, which are only counted; a circle of links ends here


@dataclass
class LeftOut:
    """What was passed over, by the reason why: how often, and one example, as it can be printed."""

    count: Counter = field(default_factory=Counter)
    example: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, path: str | os.PathLike) -> None:
        """Count one more."""
        self.count[reason] += 1
        self.example.setdefault(reason, printable(path))

    def sentences(self) -> tuple[str, ...]:
        """`3 files that are no pictures (first cat/notes.txt)` and the like."""
        return tuple(f"{count} {reason} (first {self.example[reason]})" for reason, count in self.count.items())


NESTED = "pictures in folders inside class folders"
BESIDE = "pictures beside the class folders"
OTHER = "files that are no pictures"
HIDDEN = "hidden pictures"
MISSING = "pictures that are not there"
SYSTEM = "hidden folders or folders of the system"


def picture_names(folder: Path, left_out: LeftOut | None = None) -> list[str]:
    """Return the names of a folder's pictures, sorted. A dangling link is among them, so that it is reported later.

    A file without an ending is a picture if it begins as one. What is passed over goes into `left_out`, by its path
    from the folder above. Raises OSError when the folder cannot be listed.
    """
    names, left_out = [], LeftOut() if left_out is None else left_out
    with os.scandir(folder) as entries:
        for entry in entries:
            place = f"{folder.name}/{entry.name}"
            if entry.is_dir():
                _count_nested(entry, place, left_out)
            elif not _is_picture(entry):
                _count_other(entry.name, place, left_out)
            elif entry.is_file() or not os.path.exists(entry):  # noqa: PTH110, a pipe is neither
                names.append(entry.name)
    return sorted(names)


def class_folders(path: Path, left_out: LeftOut | None = None) -> list[str]:
    """Return the names of the class folders in `path`, in the order of their numbers if all are numbers, else sorted.

    Hidden folders and those that operating systems and tools leave behind are none. Raises OSError.
    """
    names, left_out = [], LeftOut() if left_out is None else left_out
    with os.scandir(path) as entries:
        for entry in entries:
            if not entry.is_dir():
                if _is_picture(entry):
                    left_out.add(BESIDE, entry.name)
            elif is_system_folder(entry.name):
                left_out.add(SYSTEM, entry.name)
            else:
                names.append(entry.name)
    return in_order(names)


def is_system_folder(name: str) -> bool:
    """Tell whether nobody can have meant a folder of this name as a class."""
    return name.startswith(".") or name.lower() in _SYSTEM_FOLDERS


def _is_picture(entry: os.DirEntry) -> bool:
    name = entry.name
    if name.startswith("."):  # ._name.jpg: what macOS leaves beside a file is no picture
        return False
    return name.lower().endswith(EXTENSIONS) or ("." not in name and entry.is_file() and _begins_as_picture(entry.path))


def _begins_as_picture(path: str) -> bool:
    try:
        with open(path, "rb") as file:  # noqa: PTH123, this is called for each file without an ending
            return begins_as_photo(file.read(16))
    except OSError:  # nobody knows what it is: listed, so that whoever reads it says so
        return True


def _count_other(name: str, place: str, left_out: LeftOut) -> None:
    if name.startswith("."):
        if name.lower().endswith(EXTENSIONS) and not name.startswith("._"):
            left_out.add(HIDDEN, place)
    elif name.lower() not in _SYSTEM_FILES:
        left_out.add(OTHER, place)


def _count_nested(folder: os.DirEntry, place: str, left_out: LeftOut, depth: int = 1) -> None:
    if is_system_folder(folder.name):
        left_out.add(SYSTEM, place)
        return
    with contextlib.suppress(OSError), os.scandir(folder) as entries:  # nothing in it is used
        for entry in entries:
            if _is_picture(entry):
                left_out.add(NESTED, f"{place}/{entry.name}")
            elif entry.is_dir() and depth < _MAX_DEPTH:
                _count_nested(entry, f"{place}/{entry.name}", left_out, depth + 1)
