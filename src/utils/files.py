"""Writing files so that a reader, or a crash, never finds half of one; reading regular files and nothing else."""

import errno
import hashlib
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from src.utils.errors import ReportedError, UsageError
from src.utils.outside import kind_of

TEMPORARY_PREFIX = ".tmp-"
NO_SUCH_FILE = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}
_NO_LINKS = {errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOSYS, errno.EOPNOTSUPP}  # of FAT, of some network disks


def is_file(path: Path) -> bool:
    """`Path.is_file`, but False where that raises: for a name that is too long, say."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: Path) -> bool:
    """`Path.is_dir`, but False where that raises."""
    return os.path.isdir(path)  # noqa: PTH112


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content in hexadecimal. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def no_file(path: Path) -> str:
    """What `path`, which cannot be read as a file, is instead, for a message."""
    try:
        kind = kind_of(path.stat().st_mode)
    except ValueError:  # a NUL in the name
        return "does not exist"
    except OSError as error:
        return "does not exist" if error.errno in NO_SUCH_FILE else f"cannot be read: {error.strerror}"
    return f"is {kind}" if kind else "cannot be read"


def make_folder(folder: Path) -> None:
    """Have `folder` and those above it be there. Raises ReportedError when it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ReportedError(f"cannot create {folder}: {error.strerror}; choose another folder") from error


def require_new(path: Path) -> None:
    """Raise UsageError, before the work, when `write_new` could not write the file `path` after it."""
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
    with written_beside(path, write) as temporary:
        temporary.replace(path)


def write_new(path: Path, write: Callable[[Path], None]) -> None:
    """`write_atomically` for a result that must not take another's place.

    What appeared at `path` since `require_new` stays as it is, and ReportedError says so; of several processes that
    write to one path, one succeeds.
    """
    with written_beside(path, write) as temporary:
        move_new(temporary, path)


def write_text_atomically(path: Path, text: str) -> None:
    """`write_atomically` for a UTF-8 text."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_new_text(path: Path, text: str) -> None:
    """`write_new` for a UTF-8 text."""
    write_new(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


@contextmanager
def written_beside(path: Path, write: Callable[[Path], None]) -> Iterator[Path]:
    """A temporary file beside `path` that `write` has filled and the disk has: the `with` moves it, or it is deleted.

    Raises ReportedError for an OSError in `write` and in the `with`.
    """
    stem = TEMPORARY_PREFIX + uuid.uuid4().hex
    temporary = path.with_name(stem + path.suffix)
    try:
        write(temporary)
        temporary.chmod(0o644)
        _flush(temporary)
        yield temporary
        _flush(path.parent)
    except OSError as error:
        raise ReportedError(
            f"cannot write {path}: {error.strerror or error}; free the disk or choose another folder"
        ) from error
    finally:
        with suppress(OSError):  # of a disk that fails; the error that ends the writing is told
            for leftover in path.parent.glob(stem + "*"):  # MindSpore puts one more beside it
                leftover.unlink(missing_ok=True)


def move_new(temporary: Path, path: Path) -> None:
    """Give the file `temporary` the name `path` beside it, if nothing has it. Raises ReportedError when something has.

    A link is the one move of POSIX that replaces nothing. Where the file system has none, an empty file takes the name
    first: killed right then, it is what remains.
    """
    try:
        try:
            os.link(temporary, path)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
            try:
                temporary.replace(path)
            except OSError:
                path.unlink()
                raise
            return
    except FileExistsError:
        # A network disk that asks a second time, because the first answer got lost, finds its own link.
        if not (path.exists() and path.samefile(temporary)):
            raise appeared(path) from None
    temporary.unlink()


def appeared(path: Path) -> ReportedError:
    """The error of a command that lost `path` to another while it worked."""
    return ReportedError(
        f"{path} appeared while this command worked and is not overwritten; choose another name or move it away"
    )


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
