"""Files from outside as arrays of bytes. Apart from `files.py`, which the launcher uses without NumPy."""

import os
from pathlib import Path

import numpy as np

from src.utils.outside import UnfitFileError, open_outside


def read_array(path: Path, most: int) -> np.ndarray:
    """All bytes of a file from outside, uint8 (length,). Raises as `read_outside`."""
    with open_outside(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise UnfitFileError(path, f"it has {size} bytes, more than the limit of {most}")
        return np.fromfile(file, np.uint8)
