"""Folders and files of this user or this process alone, for what is run or believed without being looked at again.

Each level of the cache below ${XDG_CACHE_HOME:-~/.cache}, and each file that is read, has to be this user's own, no
link, and closed to others' writing.
"""

import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from src.utils.ending import clean_at_end, left_to_clean
from src.utils.errors import ReportedError
from src.utils.logging import get_logger

_PROJECT = "densenet-mindspore"
_POLL = 0.1  # seconds between two tries to lock


def cache_folder(name: str, accept: Callable[[Path], None] = lambda _: None) -> Path:
    """${XDG_CACHE_HOME:-~/.cache}/densenet-mindspore/`name`, made when it is missing. `accept` may refuse it before.

    Raises ReportedError when it cannot be made or is not this user's alone.
    """
    named = os.environ.get("XDG_CACHE_HOME")
    try:
        home = Path(named) if named else Path.home() / ".cache"
        folder = home / _PROJECT / name
        if not folder.is_absolute():
            raise ReportedError(f"{folder} is no absolute path; set {'XDG_CACHE_HOME' if named else 'HOME'} to one")
        accept(folder)
        for missing in reversed([path for path in (home, *home.parents) if not path.exists()]):
            missing.mkdir(mode=0o700, exist_ok=True)
        make_own(folder.parent)
        make_own(folder)
    except RuntimeError:  # of Path.home
        raise ReportedError("this user has no home; set XDG_CACHE_HOME to a folder") from None
    except OSError as error:
        raise ReportedError(f"{folder} cannot be made ({error.strerror}); set XDG_CACHE_HOME") from error
    return folder


def make_own(folder: Path) -> None:
    """Have `folder`, below an existing one, be a folder of this user's with mode 0700. Raises OSError when it cannot be
    made, ReportedError when it is there and others may have written in it.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise ReportedError(f"{folder} is a link; remove it, or set XDG_CACHE_HOME to where it leads")
    if found.st_uid != os.geteuid():
        raise ReportedError(f"{folder} belongs to somebody else; set XDG_CACHE_HOME to a folder of your own")
    if found.st_mode & 0o022:
        raise ReportedError(f"{folder} can be written by others; make it yours: chmod 700")
    if stat.S_IMODE(found.st_mode) != 0o700:
        folder.chmod(0o700)


@contextmanager
def locked(path: Path, what: str, beat: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock of the file `path`, in a folder of ours, inside the `with`.

    Waiting for the process that has it, of which `what` says what it does, can be interrupted, and is said; beat is
    called meanwhile. Raises OSError.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        if not _try_lock(lock):
            get_logger().info("waiting for another process, which %s in %s", what, path.parent)
            while not _try_lock(lock):  # a blocking call would not notice an interrupt, see src.utils.signals
                beat()
                time.sleep(_POLL)
        yield
    finally:
        os.close(lock)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def temporary_folder(prefix: str) -> Path:
    """A new folder of this process, removed when it ends. Raises OSError."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    clean_at_end(folder, partial(shutil.rmtree, folder, ignore_errors=True))
    return folder


def is_temporary(text: str) -> bool:
    """Whether `text` names a place that ends with this process."""
    return any(str(folder) in text for folder in left_to_clean())


def read_own(path: Path) -> bytes:
    """The contents of a regular file of this user's that nobody else can write. Raises OSError for any other."""
    with os.fdopen(open_own(path, os.O_RDONLY), "rb") as file:
        return file.read()


def open_own(path: Path, flags: int) -> int:
    """A descriptor of such a file. Raises OSError."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        os.close(descriptor)
        raise OSError(f"{path.name} is not a file that this user alone can write")
    return descriptor
