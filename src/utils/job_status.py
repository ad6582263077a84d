"""Signs of life that a rank leaves for the launcher, which ends a job in which nothing moves any more."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from src.utils.ending import clean_up, tell_when_done
from src.utils.errors import ReportedError

RUN_FOLDER = "run_folder"


def status_file(folder: Path, rank: int) -> Path:
    """Where `rank` leaves its signs: a text with the number of batches that it has begun so far."""
    return folder / f"rank_{rank}"


def done_file(folder: Path, rank: int) -> Path:
    """What is there once `rank` has done its work, whatever becomes of its process then. On a CPU it is a text with the
    exit status: nothing is left to be done but MindSpore's own end of the process, which takes seconds.

    The thread in which MindSpore receives messages (RECV_EVENT_LOOP of libmindspore_cluster.so) may still read from the
    connection that the end of the process closes: on a busy machine 2 of 100 processes ended with SIGSEGV.
    """
    return folder / f"done_{rank}"


class JobStatus:
    """Writes into the launcher's `folder`; does nothing without one.

    device: of an Ascend or a GPU the launcher waits until the process has ended and given the device back.
    """

    def __init__(self, folder: Path | None, rank: int, device: str) -> None:
        self._folder, self._path, self._beats = folder, folder and status_file(folder, rank), 0
        if folder:
            tell_when_done(lambda status: _note_done(done_file(folder, rank), status, device))
        self.beat()

    def beat(self) -> None:
        """Say that this rank goes on: it begins another batch."""
        if self._path:
            with _reporting(self._path):
                self._path.write_text(f"{self._beats}\n")
            self._beats += 1

    def run_folder(self, path: Path) -> None:
        """Say where the run writes its checkpoints: a restarted job goes on from there."""
        if self._folder:
            with _reporting(self._folder):
                (self._folder / RUN_FOLDER).write_text(f"{path.absolute()}\n", "utf-8")


def done_status(folder: Path, rank: int) -> int | None:
    """The exit status with which `rank` has done its work, if it need not be waited for any more; else None."""
    try:
        return int(done_file(folder, rank).read_text())
    except (OSError, ValueError):  # it is empty while it is written
        return None


def _note_done(path: Path, status: int | None, device: str) -> None:
    if status is None:
        return
    clean_up()
    with suppress(OSError):  # then the exit status alone says how this rank ended
        path.write_text(f"{status}\n" if device == "CPU" else "")


@contextmanager
def _reporting(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ReportedError(
            f"cannot tell the launcher in {path} that this rank goes on: {error.strerror}; free the disk or set TMPDIR"
        ) from error
