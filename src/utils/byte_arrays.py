"""Files from outside as arrays of bytes. Apart from `files.py`, which the launcher uses without NumPy."""

import os

import numpy as np

from src.utils.outside import UnfitFileError, open_outside


def read_array(path: str | os.PathLike, most: int) -> np.ndarray:
    """All bytes of a file from outside, uint8 (length,). Raises as `read_outside`."""
    with open_outside(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise UnfitFileError(path, f"it has {size} bytes, more than the limit of {most}")
        data = np.empty(size, np.uint8)
        return data[: file.readinto(data)]
