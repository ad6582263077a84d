"""TensorBoard event files."""

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
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto.event_pb2 import Event, SessionLog
    from tensorboardX.summary import scalar


class Events:
    """A TensorBoard event file in `folder`; what earlier files hold from `global_step` on is declared void.

    tensorboardX's SummaryWriter is not used: it writes from a thread, which a full disk kills, and the training would
    then wait for it forever.
    """

    def __init__(self, folder: Path, global_step: int) -> None:
        self._folder = folder
        start = Event(wall_time=time.time(), step=global_step, session_log=SessionLog(status=SessionLog.START))
        with self._reporting():
            self._file = EventsWriter(str(folder / "events"))
            self._file.write_event(start)

    def add(self, step: int, scalars: dict[str, float]) -> None:
        """Append the values. Raises ReportedError when the disk refuses."""
        with self._reporting():
            for name, value in scalars.items():
                self._file.write_event(Event(wall_time=time.time(), step=step, summary=scalar(name, value)))
            self._file.flush()

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ReportedError(
                f"cannot write TensorBoard events in {self._folder}: {error.strerror}; free the disk or choose another "
                "folder"
            ) from error
