"""Where the ranks of one job on one host agree which of them does a thing for all, without a group: by file locks.

The group has not been joined yet where this is needed, and its collective operations give up long before a data set
has been copied.
"""

import fcntl
import hashlib
import json
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from src.model_utils.local_adapter import launcher_place
from src.utils.errors import ReportedError

_POLL = 0.2  # seconds between two looks at the copier
_SCHEDULER_PATIENCE = 60  # seconds without a copier after which msrun's scheduler goes on
# What tells one job of a host from another; the last is this project's launcher's own.
_JOB_VARIABLES = ("MA_JOB_ID", "MS_SCHED_HOST", "MS_SCHED_PORT", "RANK_TABLE_FILE", "DENSENET_STATUS_DIR")


class Meeting:
    """Where the ranks of one job on one host agree on who copies: three files in a folder of their own.

    What counts are locks, which end with the process that holds them, never what an ended job left in the files.
    `copier` is locked by the one that copies, for its life. `ready` is locked by it too, when it has copied or failed,
    and then holds the error or nothing. `uploaded` is locked by who copies results, and holds which of them are copied.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open()

    def _open(self) -> None:
        while True:
            try:
                self.folder.mkdir(mode=0o700, exist_ok=True)
                found = self.folder.lstat()
                if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
                    raise ReportedError(f"{self.folder} belongs to somebody else; set TMPDIR to a folder of your own")
                files = [(self.folder / name).open("a+", encoding="utf-8") for name in ("copier", "ready", "uploaded")]
                self.copier, self.ready, self.uploaded = files
                return
            except FileNotFoundError:  # another rank, which leaves, has just removed the folder
                time.sleep(_POLL)
            except OSError as error:
                raise ReportedError(f"cannot write in {self.folder}: {error.strerror}; set TMPDIR") from error

    def elect(self) -> bool:
        """Whether this process is the copier; if not, return when the copier is ready. Raises ReportedError with it."""
        while True:
            if _lock(self.copier):
                if self._is_ours():
                    return True
                self._close()
                self._open()
            elif self._is_ready():
                return False
            else:
                time.sleep(_POLL)

    def watch(self) -> None:
        """Return when the copier is ready, or when for a minute there was none. Raises ReportedError with it."""
        patience = time.monotonic() + _SCHEDULER_PATIENCE
        while time.monotonic() < patience and not self._is_ready():
            if _lock(self.copier):
                fcntl.flock(self.copier, fcntl.LOCK_UN)
            else:
                patience = time.monotonic() + _SCHEDULER_PATIENCE
            time.sleep(_POLL)
        self._close()

    def _is_ready(self) -> bool:
        if _lock(self.ready, fcntl.LOCK_SH):
            fcntl.flock(self.ready, fcntl.LOCK_UN)
            return False
        self.ready.seek(0)
        if failure := self.ready.read():
            raise ReportedError(failure)
        return True

    @contextmanager
    def told(self) -> Iterator[None]:
        """Tell the others at the end of the `with` that all is there, or what went wrong."""
        try:
            yield
        except ReportedError as error:
            self._announce(str(error))
            time.sleep(5 * _POLL)  # for the others to see it; who comes later tries anew
            raise
        self._announce("")

    def _announce(self, failure: str) -> None:
        rewrite(self.ready, failure)
        fcntl.flock(self.ready, fcntl.LOCK_EX)

    def leave(self) -> None:
        """Remove the folder; ranks that are still inside do not need its name any more."""
        if self._is_ours():
            shutil.rmtree(self.folder, ignore_errors=True)
        self._close()

    def _is_ours(self) -> bool:
        with suppress(FileNotFoundError):
            return os.path.samestat((self.folder / "copier").stat(), os.fstat(self.copier.fileno()))
        return False

    def _close(self) -> None:
        for file in (self.copier, self.ready, self.uploaded):
            file.close()


def meeting_place(*arguments: str) -> Path:
    """A folder of this job on this host: its ranks get the same, another job or user gets another."""
    job = [os.environ.get(name, "") for name in _JOB_VARIABLES] if launcher_place().launched else [str(os.getpid())]
    digest = hashlib.sha256(json.dumps([*job, *arguments]).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"densenet-modelarts-{os.getuid()}-{digest}"


def _lock(file: TextIO, kind: int = fcntl.LOCK_EX) -> bool:
    """Lock the file if nobody else has; return whether that worked."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def locked(file: TextIO) -> Iterator[None]:
    """Hold the lock of `file`, waited for, inside the `with`."""
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def rewrite(file: TextIO, text: str) -> None:
    """Make `text` all that `file` holds."""
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()
