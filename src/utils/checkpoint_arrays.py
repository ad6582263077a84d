"""The arrays of a checkpoint's file, and what is wrong when they cannot be read."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from src.utils.checkpoint_format import Entry, FormatError, read_array
from src.utils.errors import ReportedError
from src.utils.files import NO_SUCH_FILE, no_file
from src.utils.outside import UnfitFileError, what_it_is


class DamagedError(ReportedError):
    """A file was read, and its content is not what was once written: unlike one that cannot be read now."""


class MissingError(ReportedError):
    """There is no such file, or no longer."""


class Arrays(Mapping):
    """The arrays of a checkpoint's open file by their names, each read when it is asked for.

    The file's name may go meanwhile, as the older checkpoints of a run that trains. Raises as `reading_checkpoint`.
    """

    def __init__(self, path: Path, file: BinaryIO, entries: Mapping[str, Entry]) -> None:
        self._path, self._file = path, file
        self._entries = {name: entry for name, entry in entries.items() if not entry.is_text}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of every array, without reading it."""
        return {name: entry.shape for name, entry in self._entries.items()}

    def only(self, wanted: Callable[[str], object]) -> "Arrays":
        """Those whose name is `wanted`."""
        return Arrays(self._path, self._file, {name: entry for name, entry in self._entries.items() if wanted(name)})

    def __getitem__(self, name: str) -> np.ndarray:
        with reading_checkpoint(self._path):
            return read_array(self._file, self._entries[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


@contextmanager
def reading_checkpoint(path: Path) -> Iterator[None]:
    """Turn what goes wrong while `path` is read into a ReportedError.

    It is a DamagedError when the content is not a checkpoint's, and a MissingError when there is no such file.
    """
    try:
        yield
    except FormatError as error:
        found = what_it_is(path) or (
            f"no .ckpt file, truncated or damaged ({error}); use another copy or an earlier checkpoint"
        )
        raise DamagedError(f"{path} cannot be read as a MindSpore checkpoint: it is {found}") from error
    except (UnfitFileError, IsADirectoryError, ValueError) as error:  # a ValueError for a NUL in the name
        raise ReportedError(f"checkpoint {path} {no_file(path)}; give a .ckpt file") from error
    except OSError as error:
        if error.errno in NO_SUCH_FILE:
            raise MissingError(f"checkpoint {path} does not exist; give a .ckpt file") from error
        raise ReportedError(
            f"checkpoint {path} cannot be read: {error.strerror}; it is left as it is, try again when it can be read"
        ) from error
