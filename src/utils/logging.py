"""The log of a run: `2020-08-22 16:58:56,617:INFO:message` on stdout and in the run's log file."""

import errno
import io
import logging
import os
import signal
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

from tqdm import tqdm

from src.utils.errors import ReportedError, discard_stdout
from src.utils.outside import open_ours
from src.utils.shown import shown
from src.utils.signals import stop_is_requested_by


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return shown(super().format(record))


_FORMAT = _Formatter("%(asctime)s:%(levelname)s:%(message)s")


class _StdoutHandler(logging.Handler):
    """Writes through tqdm, so that a line does not tear a progress bar, and to whatever sys.stdout is now."""

    def emit(self, record: logging.LogRecord) -> None:
        """Once nobody reads stdout any more, a run that can be asked to stop is asked to, and goes on without it."""
        try:
            tqdm.write(self.format(record), file=sys.stdout)
            sys.stdout.flush()
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO) or not stop_is_requested_by(signal.SIGPIPE):
                raise
            discard_stdout()
            signal.raise_signal(signal.SIGPIPE)


class _FileHandler(logging.FileHandler):
    """Its lines are part of the run's result: one that cannot be written ends the run instead of being lost."""

    def _open(self) -> io.TextIOWrapper:
        descriptor = open_ours(self.baseFilename, os.O_WRONLY | os.O_APPEND)
        return os.fdopen(descriptor, self.mode, encoding=self.encoding, errors=self.errors)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802
        error = sys.exc_info()[1]
        raise ReportedError(
            f"cannot write the log {self.baseFilename}: {getattr(error, 'strerror', None) or error}; free the disk or "
            "choose another --save_ckpt_path"
        ) from error


def get_logger() -> logging.Logger:
    """The one logger of the project, writing to stdout."""
    logger = logging.getLogger("densenet")
    if not logger.handlers:
        handler = _StdoutHandler()
        handler.setFormatter(_FORMAT)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    return logger


@contextmanager
def log_file(path: Path):
    """Append what is logged inside the `with`, and the error that ends it, to `path` as well; of a bug its traceback.

    Raises ReportedError when the file cannot be opened.
    """
    try:
        handler = _FileHandler(path, mode="a", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise ReportedError(
            f"cannot write the log {path}: {error.strerror}; choose another --save_ckpt_path"
        ) from error
    handler.setFormatter(_FORMAT)
    logger = get_logger()
    logger.addHandler(handler)
    try:
        yield
    except Exception as error:  # stderr, if it is there, gets it from errors.run or the interpreter
        about = None if isinstance(error, ReportedError) else sys.exc_info()
        with suppress(ReportedError):  # a full disk, which may be what ends it
            handler.handle(logger.makeRecord(logger.name, logging.ERROR, __file__, 0, "%s", (error,), about))
        raise
    finally:
        logger.removeHandler(handler)
        with suppress(OSError):
            handler.close()
