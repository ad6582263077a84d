"""Folders and files of this user alone, for what is run or believed without being looked at again."""

import os
import stat
from pathlib import Path

from src.utils.errors import ReportedError

PROJECT = "densenet-mindspore"


def cache_folder(name: str) -> Path:
    """${XDG_CACHE_HOME:-~/.cache}/densenet-mindspore/`name`, made when it is missing; nobody else may write there.

    Raises ReportedError when it cannot be made or is not this user's alone.
    """
    home = os.environ.get("XDG_CACHE_HOME")
    try:
        base = Path(home) if home else Path.home() / ".cache"
        folder = base / PROJECT / name
        if not folder.is_absolute():
            raise ReportedError(f"{folder} is no absolute path; set {'XDG_CACHE_HOME' if home else 'HOME'} to one")
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        for level in (folder.parent, folder):
            level.mkdir(mode=0o700, exist_ok=True)
            require_own(level, level.lstat(), stat.S_ISDIR)
    except RuntimeError:  # of Path.home
        raise ReportedError("this user has no home; set XDG_CACHE_HOME to a folder") from None
    except OSError as error:
        raise ReportedError(f"{folder} cannot be made ({error.strerror}); set XDG_CACHE_HOME") from error
    return folder


def read_own_file(path: Path) -> bytes:
    """The content of a regular file that only this user can have written.

    Raises OSError when it cannot be read, ReportedError when it is somebody else's, a link, or writable by others.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        require_own(path, os.fstat(file.fileno()), stat.S_ISREG)
        return file.read()


def require_own(path: Path, found: os.stat_result, is_kind) -> None:
    """Raise ReportedError unless `found`, the lstat of `path`, is of the kind asked for, this user's and nobody else's
    to write.
    """
    if not is_kind(found.st_mode):
        raise ReportedError(f"{path} is a link or of another kind than it should be; remove it")
    if found.st_uid != os.geteuid():
        raise ReportedError(f"{path} belongs to somebody else; set XDG_CACHE_HOME to a folder of your own")
    if found.st_mode & 0o022:
        raise ReportedError(f"{path} can be written by others; make it yours: chmod go-w")
