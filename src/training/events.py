"""TensorBoard event files."""

import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from src.utils.errors import ReportedError


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    """While it is open an import of `module` fails, unless there has been one."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None
    try:
        yield
    finally:
        del sys.modules[module]


# tensorboardX imports PyTorch where it is installed, five seconds for nothing that is written here.
with _hidden("torch"):
    from tensorboardX.proto.event_pb2 import Event, SessionLog
    from tensorboardX.record_writer import RecordWriter
    from tensorboardX.summary import scalar


_NAME = re.compile(r"events\.out\.tfevents\.(\d{10})\.")


class Events:
    """A TensorBoard event file in `folder`; what earlier files hold of steps behind `global_step` is declared void.

    tensorboardX's SummaryWriter is not used: it writes from a thread, which a full disk kills, and the training would
    then wait for it forever. Nor is its EventsWriter, which names the file by the clock alone and replaces one that is
    there.
    """

    def __init__(self, folder: Path, global_step: int) -> None:
        self._folder = folder
        with self._reporting():
            self._file = RecordWriter(str(_new_file(folder)))
            self._write(file_version="brain.Event:2")
            # TensorBoard drops what has this step or a later one; the point of `global_step` itself was reached.
            self._write(step=global_step + 1, session_log=SessionLog(status=SessionLog.START))

    def add(self, step: int, scalars: dict[str, float]) -> None:
        """Append the values. Raises ReportedError when the disk refuses."""
        with self._reporting():
            for name, value in scalars.items():
                self._write(step=step, summary=scalar(name, value))
            self._file.flush()

    def _write(self, **event: object) -> None:
        self._file.write(Event(wall_time=time.time(), **event).SerializeToString())

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ReportedError(
                f"cannot write TensorBoard events in {self._folder}: {error.strerror}; free the disk or choose another "
                "folder"
            ) from error


def _new_file(folder: Path) -> Path:
    """A new, empty file, `events.out.tfevents.SECONDS.HOST`, behind all others of the folder by name.

    TensorBoard reads them in this order: a clock that was set back must not put a resumed run before its beginning.
    """
    stamps = [int(found[1]) for path in folder.iterdir() if (found := _NAME.match(path.name))]
    stamp = max([int(time.time()), *(stamp + 1 for stamp in stamps)])
    path = folder / f"events.out.tfevents.{stamp:010d}.{socket.gethostname()}"
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
    return path
