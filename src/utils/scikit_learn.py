"""Data that come with scikit-learn, read from its files: importing it takes longer than many a run on them."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from src.utils.errors import ReportedError

_PHOTOGRAPHS = ("china.jpg", "flower.jpg")  # as sklearn.datasets.load_sample_images has them


def data_file(what: str, *path: str) -> Path:
    """The file `path` below its folder `datasets`. what: it is, for the ReportedError when scikit-learn is missing."""
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise ReportedError(f"{what} with scikit-learn, which is missing: pip install scikit-learn")
    return Path(package.origin).parent.joinpath("datasets", *path)


def unreadable(what: str, path: Path, error: Exception) -> ReportedError:
    """For a file of it that is not as it was."""
    return ReportedError(
        f"{what} cannot be read from {path}: {error}; install scikit-learn again: "
        "pip install --force-reinstall scikit-learn"
    )


def sample_photographs() -> list[np.ndarray]:
    """Its two photographs, uint8 (427, 640, 3). Raises ReportedError."""
    found = []
    for name in _PHOTOGRAPHS:
        path = data_file("the photographs that models are checked with come", "images", name)
        try:
            found.append(np.asarray(Image.open(path)))
        except OSError as error:
            raise unreadable("a photograph that models are checked with", path, error) from error
    return found
