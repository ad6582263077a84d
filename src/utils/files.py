"""Writing files so that a reader, or a crash, never finds half of one."""

import os
import uuid
from collections.abc import Callable
from pathlib import Path

from src.utils.errors import ReportedError, UsageError

TEMPORARY_PREFIX = ".tmp-"


def is_file(path: Path) -> bool:
    """`Path.is_file`, but False where that raises: for a name that is too long, say."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: Path) -> bool:
    """`Path.is_dir`, but False where that raises."""
    return os.path.isdir(path)  # noqa: PTH112


def no_file(path: Path) -> str:
    """What `path`, which is no file, is instead, for a message."""
    return "is a folder" if is_folder(path) else "does not exist"


def require_new(path: Path) -> None:
    """Raise UsageError, before the work, when the new file `path` could not be written after it."""
    if not is_folder(path.parent):
        raise UsageError(f"{path} cannot be written: there is no folder {path.parent}; create it first")
    if os.path.lexists(path):
        raise UsageError(f"{path} exists and is not overwritten; choose another name")


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Have `write` fill a temporary file beside `path`, flush it to the disk, and move it over `path` in one step.

    Killed at any instant, `path` is either what it was or the whole new file. The temporary name keeps the suffix of
    `path` and starts with `.tmp-`. Raises ReportedError when the disk refuses (full, read-only, a missing folder);
    `path` is then as it was.
    """
    stem = TEMPORARY_PREFIX + uuid.uuid4().hex
    temporary = path.with_name(stem + path.suffix)
    try:
        write(temporary)
        temporary.chmod(0o644)
        _flush(temporary)
        temporary.replace(path)
        _flush(path.parent)
    except OSError as error:
        raise ReportedError(
            f"cannot write {path}: {error.strerror or error}; free the disk or choose another folder"
        ) from error
    finally:
        for leftover in path.parent.glob(stem + "*"):  # MindSpore puts one more beside it
            leftover.unlink(missing_ok=True)


def write_text_atomically(path: Path, text: str) -> None:
    """`write_atomically` for a UTF-8 text."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
