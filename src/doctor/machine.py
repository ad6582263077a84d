"""All that the doctor's rows look at, in one value, so that a test can hand them another machine."""

import contextlib
import importlib.metadata
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from src.launch.network import can_listen
from src.utils.errors import ReportedError
from src.utils.own_folder import cache_folder

PROJECT = Path(__file__).resolve().parents[2]
NOT_FOUND, TIMED_OUT = 127, 124  # exit statuses of a program that is not there or was given up, as a shell's


@dataclass(frozen=True)
class Done:
    """How a program ended: its exit status (127: it is not there; 124: it took too long) and all that it said."""

    status: int
    said: str


@dataclass(frozen=True)
class Machine:
    """The machine, this process and its environment. Sizes are in bytes, times in seconds.

    root: the file system's, for files that do not belong to the user. folder: the current one; cache: the kernels';
    temporary: of temporary files. cores: those this process may use. version_of: of an installed distribution, None
    when it is not there. free: room at a path, None when nobody can say. why_not_writable: empty where files can be
    made. kernels: whether the C++ kernels are used, and a sentence about it.
    """

    root: Path
    environ: Mapping[str, str]
    folder: Path
    temporary: Path
    python: tuple[int, int, int]
    executable: str
    system: str
    processor: str
    file_encoding: str
    output_encoding: str
    cores: int
    open_files: int
    now: float
    version_of: Callable[[str], str | None]
    which: Callable[[str], str | None]
    run: Callable[[Sequence[str], float], Done]
    free: Callable[[Path], int | None]
    why_not_writable: Callable[[Path], str]
    why_no_cache: Callable[[], str]
    can_listen: Callable[[int], bool]
    kernels: Callable[[], tuple[bool, str]]

    def read(self, path: str) -> str:
        """The text of a file below `root`, empty when it cannot be read."""
        try:
            return (self.root / path.lstrip("/")).read_text("utf-8", errors="replace")
        except OSError:
            return ""

    def files(self, folder: str, pattern: str) -> list[Path]:
        """The files of a folder below `root` whose names fit `pattern`, sorted; none when it is not there."""
        try:
            return sorted((self.root / folder.lstrip("/")).glob(pattern))
        except OSError:
            return []


def this_machine() -> Machine:
    """The one that this process runs on."""
    return Machine(
        root=Path("/"),
        environ=dict(os.environ),
        folder=_current_folder(),
        temporary=_temporary_folder(),
        python=sys.version_info[:3],
        executable=sys.executable,
        system=platform.system(),
        processor=platform.machine(),
        file_encoding=sys.getfilesystemencoding(),
        output_encoding=getattr(sys.stdout, "encoding", "") or "",
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        now=time.time(),
        version_of=_version_of,
        which=shutil.which,
        run=_run,
        free=_free,
        why_not_writable=_why_not_writable,
        why_no_cache=_why_no_cache,
        can_listen=can_listen,
        kernels=_kernels,
    )


def _current_folder() -> Path:
    try:
        return Path.cwd()
    except OSError:  # it was removed
        return Path(os.environ.get("PWD", "/"))


def _temporary_folder() -> Path:
    try:
        return Path(tempfile.gettempdir())
    except OSError:
        return Path(os.environ.get("TMPDIR", "/tmp"))  # noqa: S108, its row says that nothing can be written


def _version_of(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except (importlib.metadata.PackageNotFoundError, KeyError, OSError, ValueError):
        return None


def _run(command: Sequence[str], seconds: float) -> Done:
    try:
        done = subprocess.run(  # noqa: S603
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return Done(TIMED_OUT, "")
    except (OSError, ValueError) as error:
        return Done(NOT_FOUND, str(error))
    return Done(done.returncode, f"{done.stdout}\n{done.stderr}")


def _free(path: Path) -> int | None:
    for place in (path, *path.parents):
        with contextlib.suppress(OSError):
            return shutil.disk_usage(place).free
    return None


def _why_not_writable(folder: Path) -> str:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def _why_no_cache() -> str:
    try:
        return _why_not_writable(cache_folder("kernels"))
    except ReportedError as error:
        return str(error)


def _kernels() -> tuple[bool, str]:
    try:
        from src.ops.build import kernels
    except ImportError as error:  # a package that this project needs is missing, which another row says
        return False, f"the C++ kernels cannot be asked for: {error}"
    try:
        with contextlib.redirect_stdout(sys.stderr):  # "compiling ..." is no part of the answer
            found = kernels()
    except ReportedError as error:
        return False, str(error)
    return found.library is not None, found.reason
