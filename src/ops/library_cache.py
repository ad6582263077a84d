"""Where the compiled kernels are kept: folders and files that nobody but this user can have written, or none.

A library is code that runs with this user's rights: each level of the cache below ${XDG_CACHE_HOME:-~/.cache}, and each
file that is read, has to be this user's own, no link, and closed to others' writing.
"""

import atexit
import ctypes
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from src.ops.compile import CompilationError
from src.utils.errors import ReportedError
from src.utils.files import TEMPORARY_PREFIX, write_atomically, write_text_atomically
from src.utils.logging import get_logger

LIBRARY_NAME = "libdensenet_kernels.so"
_LEVELS = ("densenet-mindspore", "kernels")
_POLL = 0.1  # seconds


def cached_library(key: str, compile_to: Callable[[Path], None]) -> tuple[Path, str]:
    """The loadable library that `key` names, compiled by `compile_to` when it is not there, and where it comes from.

    It is kept in the user's cache, or for this process alone where there is none that can be trusted and written to.
    Raises ReportedError when it can be kept nowhere, and CompilationError.
    """
    try:
        return _library_in(_cache_folder() / key, compile_to)
    except CompilationError:
        raise
    except ReportedError as error:
        refusal = error
    try:
        library, origin = _library_in(_private_folder() / key, compile_to)
    except CompilationError:
        atexit.unregister(_remove)  # it names the log in there
        raise
    except ReportedError as error:
        raise ReportedError(f"{refusal}, and {error}") from error
    return library, f"{origin} for this process alone, because {refusal}"


def _library_in(folder: Path, compile_to: Callable[[Path], None]) -> tuple[Path, str]:
    """The library in `folder`, compiled there when it is not. Raises ReportedError."""
    library = folder / LIBRARY_NAME
    try:
        _make_own(folder)
        if _loads(library):
            return library, "found in the cache"
        with _locked(folder / "lock"):
            if _loads(library):  # another process was first
                return library, "found in the cache"
            for leftover in folder.glob(TEMPORARY_PREFIX + "*"):  # of one that was killed
                leftover.unlink(missing_ok=True)
            started = time.monotonic()
            write_atomically(library, compile_to)
            write_text_atomically(_digest_file(library), hashlib.sha256(_read_own(library)).hexdigest())
            _load(library)
    except OSError as error:
        raise ReportedError(f"{library} cannot be used ({error.strerror or error})") from error
    return library, f"compiled in {time.monotonic() - started:.1f} s"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock inside the `with`. Waiting for it can be interrupted, and is said."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        if not _try_lock(lock):
            get_logger().info("waiting for another process, which compiles the C++ kernels in %s", path.parent)
            while not _try_lock(lock):  # a blocking call would not notice an interrupt, see src.utils.signals
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


def _load(library: Path) -> None:
    """Raise OSError when the library is not there, not what this user compiled, or does not run here."""
    # Asked first: the loader does not survive a library that was cut short.
    if _read_own(_digest_file(library)) != hashlib.sha256(_read_own(library)).hexdigest().encode():
        raise OSError("it is not what was compiled")
    ctypes.CDLL(str(library))


def _loads(library: Path) -> bool:
    try:
        _load(library)
    except OSError:
        return False
    return True


def _read_own(path: Path) -> bytes:
    """The contents of a regular file of this user's that nobody else can write. Raises OSError for any other."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise OSError(f"{path.name} is not a file that this user alone can write")
        return file.read()


def _digest_file(library: Path) -> Path:
    return library.with_suffix(".sha256")


def _cache_folder() -> Path:
    """The user's own folder, which nobody else can have put a library into. Raises ReportedError without one."""
    named = os.environ.get("XDG_CACHE_HOME")
    try:
        home = Path(named) if named else Path.home() / ".cache"
        folder = home.joinpath(*_LEVELS)
        if not folder.is_absolute():
            raise ReportedError(f"{folder} is no absolute path; set {'XDG_CACHE_HOME' if named else 'HOME'} to one")
        _check_loadable_from(folder)
        for missing in reversed([path for path in (home, *home.parents) if not path.exists()]):
            missing.mkdir(mode=0o700, exist_ok=True)
        for level in range(len(_LEVELS)):
            _make_own(home.joinpath(*_LEVELS[: level + 1]))
    except RuntimeError:  # of Path.home
        raise ReportedError("this user has no home; set XDG_CACHE_HOME to a folder") from None
    except OSError as error:
        raise ReportedError(f"{folder} cannot be made ({error.strerror}); set XDG_CACHE_HOME") from error
    return folder


def _make_own(folder: Path) -> None:
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


def _private_folder() -> Path:
    """A new temporary folder, removed when the process ends. Raises ReportedError when it cannot be made."""
    try:
        _check_loadable_from(Path(tempfile.gettempdir()))
        folder = Path(tempfile.mkdtemp(prefix="densenet-kernels-"))
    except OSError as error:
        raise ReportedError(f"there is no temporary folder ({error.strerror}); set TMPDIR") from error
    atexit.register(_remove, folder)
    return folder


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _check_loadable_from(folder: Path) -> None:
    """Raise ReportedError when MindSpore would not load a library from below `folder`."""
    if ":" in str(folder) or not str(folder).isprintable():
        raise ReportedError(f"MindSpore loads nothing from {str(folder)!a}: it has a colon or is not printable")
    allowed = os.environ.get("MS_CUSTOM_AOT_WHITE_LIST")
    if allowed is not None and not (allowed and folder.resolve().is_relative_to(Path(allowed).resolve())):
        raise ReportedError(f"MS_CUSTOM_AOT_WHITE_LIST lets MindSpore load from {allowed!r} only, not from {folder}")
