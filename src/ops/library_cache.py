"""Where the compiled kernels are kept: folders and files that nobody but this user can have written, or none.

A library is code that runs with this user's rights: see `src/utils/own_folder.py` for what is asked of the folders
and of each file that is read.
"""

import ctypes
import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from src.ops.compile import CompilationError
from src.utils.ending import leave_behind
from src.utils.errors import ReportedError
from src.utils.files import TEMPORARY_PREFIX, write_atomically, write_text_atomically
from src.utils.own_folder import cache_folder, locked, make_own, read_own, temporary_folder

LIBRARY_NAME = "libdensenet_kernels.so"


def cached_library(key: str, compile_to: Callable[[Path], None]) -> tuple[Path, str]:
    """The loadable library that `key` names, compiled by `compile_to` when it is not there, and where it comes from.

    It is kept in the user's cache, or for this process alone where there is none that can be trusted and written to.
    Raises ReportedError when it can be kept nowhere, and CompilationError.
    """
    try:
        return _library_in(cache_folder("kernels", _check_loadable_from) / key, compile_to)
    except CompilationError:
        raise
    except ReportedError as error:
        refusal = error
    try:
        folder = _private_folder()
        library, origin = _library_in(folder / key, compile_to)
    except CompilationError:
        leave_behind(folder)  # it names the log in there
        raise
    except ReportedError as error:
        raise ReportedError(f"{refusal}, and {error}") from error
    return library, f"{origin} for this process alone, because {refusal}"


def _library_in(folder: Path, compile_to: Callable[[Path], None]) -> tuple[Path, str]:
    """The library in `folder`, compiled there when it is not. Raises ReportedError."""
    library = folder / LIBRARY_NAME
    try:
        make_own(folder)
        if _loads(library):
            return library, "found in the cache"
        with locked(folder / "lock", "compiles the C++ kernels"):
            if _loads(library):  # another process was first
                return library, "found in the cache"
            for leftover in folder.glob(TEMPORARY_PREFIX + "*"):  # of one that was killed
                leftover.unlink(missing_ok=True)
            started = time.monotonic()
            write_atomically(library, compile_to)
            write_text_atomically(_digest_file(library), hashlib.sha256(read_own(library)).hexdigest())
            _load(library)
    except OSError as error:
        raise ReportedError(f"{library} cannot be used ({error.strerror or error})") from error
    return library, f"compiled in {time.monotonic() - started:.1f} s"


def _load(library: Path) -> None:
    """Raise OSError when the library is not there, not what this user compiled, or does not run here."""
    # Asked first: the loader does not survive a library that was cut short.
    if read_own(_digest_file(library)) != hashlib.sha256(read_own(library)).hexdigest().encode():
        raise OSError("it is not what was compiled")
    ctypes.CDLL(str(library))


def _loads(library: Path) -> bool:
    try:
        _load(library)
    except OSError:
        return False
    return True


def _digest_file(library: Path) -> Path:
    return library.with_suffix(".sha256")


def _private_folder() -> Path:
    """A new temporary folder, removed when the process ends. Raises ReportedError when it cannot be made."""
    try:
        _check_loadable_from(Path(tempfile.gettempdir()))
        return temporary_folder("densenet-kernels-")
    except OSError as error:
        raise ReportedError(f"there is no temporary folder ({error.strerror}); set TMPDIR") from error


def _check_loadable_from(folder: Path) -> None:
    """Raise ReportedError when MindSpore would not load a library from below `folder`."""
    if ":" in str(folder) or not str(folder).isprintable():
        raise ReportedError(f"MindSpore loads nothing from {str(folder)!a}: it has a colon or is not printable")
    allowed = os.environ.get("MS_CUSTOM_AOT_WHITE_LIST")
    if allowed is not None and not (allowed and folder.resolve().is_relative_to(Path(allowed).resolve())):
        raise ReportedError(f"MS_CUSTOM_AOT_WHITE_LIST lets MindSpore load from {allowed!r} only, not from {folder}")
