"""The arrays of a checkpoint's file, and what is wrong when they cannot be read."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from src.utils.checkpoint_format import Entry, FormatError, read_array
from src.utils.errors import ReportedError
from src.utils.file_kind import what_it_is
from src.utils.files import NO_SUCH_FILE, no_file
from src.utils.outside import UnfitFileError, open_outside

LARGEST_WEIGHT = 1e15  # far above any of a network; a bit that flips in an exponent multiplies by 2**64 or 2**128


class DamagedError(ReportedError):
    """A file was read, and its content is not what was once written: unlike one that cannot be read now."""


class MissingError(ReportedError):
    """There is no such file, or no longer."""


class CheckpointFile:
    """A checkpoint's file, kept open: its name may go meanwhile, as the older checkpoints of a run that trains.

    After `close` it is opened once more when it is needed, by its name.
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self._file: BinaryIO | None = file
        self._stamp = _stamp(file)

    def close(self) -> None:
        """Give the descriptor back."""
        if self._file:
            self._file.close()
            self._file = None

    def open(self) -> BinaryIO:
        """The open file. Raises as `reading_checkpoint`; MissingError also when another file has taken its name."""
        if self._file is None:
            with reading_checkpoint(self.path):
                file = open_outside(self.path)
            if _stamp(file) != self._stamp:
                file.close()
                raise MissingError(f"checkpoint {self.path} was replaced by another meanwhile; start again")
            self._file = file
        return self._file


class Arrays(Mapping):
    """The arrays of a checkpoint's file by their names, each read when it is asked for. Raises as `reading_checkpoint`.

    file: None on ranks that have only heard of the checkpoint.
    """

    def __init__(self, path: Path, file: CheckpointFile | None, entries: Mapping[str, Entry]) -> None:
        self._path, self._file = path, file
        self._entries = {name: entry for name, entry in entries.items() if not entry.is_text}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of every array, without reading it."""
        return {name: entry.shape for name, entry in self._entries.items()}

    def only(self, wanted: Callable[[str], object]) -> "Arrays":
        """Those whose name is `wanted`."""
        return Arrays(self._path, self._file, {name: entry for name, entry in self._entries.items() if wanted(name)})

    def beginning_with(self, prefix: str) -> "Arrays":
        """Those whose name begins with `prefix`, by the rest of it."""
        found = {name: entry for name, entry in self._entries.items() if name.startswith(prefix)}
        return Arrays(self._path, self._file, {name.removeprefix(prefix): entry for name, entry in found.items()})

    def __getitem__(self, name: str) -> np.ndarray:
        file = self._file.open()
        with reading_checkpoint(self._path):
            return read_array(file, self._entries[name])

    def close(self) -> None:
        """Let go of the file until the next array is asked for."""
        if self._file:
            self._file.close()

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


class HeldArrays(dict):
    """Arrays in memory by their names, with what `Arrays` has besides."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of every array."""
        return {name: value.shape for name, value in self.items()}

    def only(self, wanted: Callable[[str], object]) -> "HeldArrays":
        """Those whose name is `wanted`."""
        return HeldArrays({name: value for name, value in self.items() if wanted(name)})

    def close(self) -> None:
        """Nothing is open."""


def _stamp(file: BinaryIO) -> tuple[int, int]:
    """What tells a file from one that took its name. Not its number: some network disks give new ones."""
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns


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
