"""Files from outside: opened only when they are regular files, and read only up to a bound."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


class UnfitFileError(OSError):
    """A file of a kind or size that is not read; `strerror` says which, as the operating system's errors do."""

    def __init__(self, path: str | os.PathLike, found: str) -> None:
        super().__init__(None, found, os.fspath(path))


def open_outside(path: str | os.PathLike) -> BinaryIO:
    """Open a file that somebody named, to be read as bytes.

    Raises UnfitFileError for a named pipe, a device or a socket, of which opening or reading could wait for ever, and
    the operating system's OSError for what it refuses and for a folder.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116, asked before it is opened, which alone can wait or do something
    except OSError:
        mode = stat.S_IFREG  # opening it says what is wrong
    _require_regular(path, mode)
    file = Path(path).open("rb")  # noqa: SIM115, it is the caller's
    try:
        _require_regular(path, os.fstat(file.fileno()).st_mode)
    except BaseException:
        file.close()
        raise
    return file


def read_outside(path: str | os.PathLike, most: int) -> bytes:
    """All bytes of such a file. Raises as `open_outside`, and UnfitFileError when there are more than `most`."""
    with open_outside(path) as file:
        # Not read(most + 1): Python allocates what it is asked for.
        data = file.read() if os.fstat(file.fileno()).st_size <= most else None
    if data is None or len(data) > most:
        raise UnfitFileError(path, f"it has more than {most:,} bytes")
    return data


def open_ours(path: str | os.PathLike, flags: int) -> int:
    """A descriptor of a file of ours inside a run folder, made if it is missing.

    Raises OSError: UnfitFileError when the name is taken by a link, which could lead to somebody's file, or by what is
    no regular file.
    """
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    except OSError as error:
        kind = kind_of(os.lstat(path).st_mode) if os.path.lexists(path) else ""
        raise (UnfitFileError(path, f"it is {kind}") if kind else error) from error
    try:
        _require_regular(path, os.fstat(descriptor).st_mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def kind_of(mode: int) -> str:
    """What has the `st_mode` mode, in words; empty for a regular file."""
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    return next((name for test, name in kinds if test(mode)), "")


def _require_regular(path: str | os.PathLike, mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if kind := kind_of(mode):
        raise UnfitFileError(path, f"it is {kind}, expected a file")
