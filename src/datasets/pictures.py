"""A user's own pictures, of which nobody says what they show."""

from pathlib import Path

import numpy as np

from src.datasets.image_check import UnusablePictureError, check_picture, decodable
from src.datasets.image_files import ImageFiles
from src.datasets.listing import LeftOut, picture_names
from src.datasets.preprocessing_choices import FILES
from src.datasets.source import Source
from src.utils.errors import ReportedError
from src.utils.files import is_file
from src.utils.shown import printable


def open_pictures(path: Path) -> Source:
    """Open one picture, or all directly in a folder in the order of their names. Their labels are all 0.

    Raises ReportedError when there are none.
    """
    left_out = LeftOut()
    if is_file(path):
        folder, names = path.parent, [path.name]
    else:
        try:
            folder, names = path, picture_names(path, left_out)
        except OSError as error:
            raise ReportedError(
                f"{printable(path)} cannot be read: {error.strerror}; expected a picture or a folder of pictures"
            ) from error
    if not names:
        raise ReportedError(f"{printable(path)} holds no pictures; expected them directly in it")
    images = ImageFiles(folder, names)
    labels = np.zeros(len(names), np.int32)
    return Source(
        "pictures", (), labels, FILES, images, lambda i: printable(names[i]), noticed=images.noticed,
        remarks=(f"left out: {', '.join(found)}",) if (found := left_out.sentences()) else (),
    )  # fmt: skip


def picture_in(data: bytes, name: str) -> Source:
    """The picture that `data` encodes, called `name` in messages. Raises ReportedError if it is none."""
    array = np.frombuffer(data, np.uint8)
    try:
        content = decodable(array, check_picture(array))
    except UnusablePictureError as error:
        raise ReportedError(f"{name} {error}") from error
    return Source("pictures", (), np.zeros(1, np.int32), FILES, lambda _: content, lambda _: name)
