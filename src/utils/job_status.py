"""Signs of life that a rank leaves for the launcher, which ends a job in which nothing moves any more."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from src.utils.errors import ReportedError

RUN_FOLDER = "run_folder"


def status_file(folder: Path, rank: int) -> Path:
    """Where `rank` leaves its signs: a text with the number of batches that it has begun so far."""
    return folder / f"rank_{rank}"


class JobStatus:
    """Writes into the launcher's `folder`; does nothing without one."""

    def __init__(self, folder: Path | None, rank: int) -> None:
        self._folder, self._path, self._beats = folder, folder and status_file(folder, rank), 0
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


@contextmanager
def _reporting(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ReportedError(
            f"cannot tell the launcher in {path} that this rank goes on: {error.strerror}; free the disk or set TMPDIR"
        ) from error
