"""Errors that the user can act on, and the one place where they become a line on stderr and an exit status.

A `ReportedError` is one sentence: what was found, what was expected, what to do. Anything else that escapes a command
is a bug of ours and keeps its traceback.
"""

import errno
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from src.utils.ending import tell_done
from src.utils.shown import shown
from src.utils.signals import deliver_interrupts


class ReportedError(Exception):
    """The command cannot go on for a reason outside the code: a file, an image, a device, the disk. Exit status 1."""

    exit_status = 1


class UsageError(ReportedError):
    """The command was asked for something it cannot mean: a flag, a key, a combination. Exit status 2."""

    exit_status = 2


class StopError(ReportedError):
    """A signal asked the command to stop; what had to be saved has been. Exit status 128 + the signal's number."""

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.exit_status = 128 + signal_number


def run(main: Callable[[Sequence[str]], object], argv: Sequence[str] | None = None) -> int:
    """Call `main(argv)` as a command does and return its exit status.

    0: done. 2: bad usage. 1: a failure that is not our bug. 128 + a signal's number: stopped by it. A ReportedError is
    printed as one `error: ...` line; with `--debug` among the arguments its traceback comes first. Other exceptions
    pass through with their traceback.
    """
    status, work = None, _Work(main)
    try:
        status = _exit_status(work, list(sys.argv[1:] if argv is None else argv))
    finally:
        tell_done(status if work.is_done else None)
    return status


@dataclass
class _Work:
    """A command's `main`, and whether it did all that others, as the ranks of a group, may wait for."""

    main: Callable[[Sequence[str]], object]
    is_done: bool = False

    def __call__(self, argv: Sequence[str]) -> None:
        try:
            self.main(argv)
        except StopError:  # they have stopped together
            self.is_done = True
            raise
        self.is_done = True


def _exit_status(work: _Work, argv: Sequence[str]) -> int:
    """See `run`."""
    debug = _wants_debug(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file's name that the terminal cannot show ends no finished work
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        deliver_interrupts()
        try:
            work(argv)
        except SystemExit:  # --help
            sys.stdout.flush()
            raise
        sys.stdout.flush()
        return 0
    except ReportedError as error:
        if debug:
            traceback.print_exc()
        _complain(" ".join(str(error).split()))
        return error.exit_status
    except MemoryError as error:
        remedy = "lower the batch size or --image_size (python -m src.doctor says how much there is)"
        _complain(f"out of memory ({error}); {remedy}")
        return ReportedError.exit_status
    except KeyboardInterrupt:
        _complain("interrupted before there was anything to save")
        return 128 + signal.SIGINT
    except BrokenPipeError:  # the reader of our output (head, less) has gone: not an error of the command
        discard_stdout()
        return 128 + signal.SIGPIPE
    except OSError as error:  # of stdout: what goes to files of ours is a ReportedError
        if error.errno != errno.ENOSPC:
            raise
        discard_stdout()
        _complain(f"cannot write the output: {error.strerror}; free the disk or send it elsewhere")
        return ReportedError.exit_status


def _complain(message: str) -> None:
    """The line on stderr, after all that stdout still holds. Neither need be there any more."""
    try:
        sys.stdout.flush()
    except OSError:
        discard_stdout()
    with suppress(OSError):
        print(f"error: {shown(message)}", file=sys.stderr, flush=True)


def is_stderr_nowhere() -> bool:
    """Whether nobody can see what this process says there."""
    with suppress(OSError):
        return os.path.samestat(os.fstat(2), Path(os.devnull).stat())
    return True


def discard_stdout() -> None:
    """Have what is still written there, and the interpreter's own flush at the end, succeed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _wants_debug(argv: Sequence[str]) -> bool:
    """What `--debug`, `--debug VALUE` or `--debug=VALUE` says, also where the rest of `argv` cannot be parsed."""
    debug = False
    for word, following in zip(argv, [*argv, ""][1:], strict=True):
        key, equals, value = word.partition("=")
        if key == "--debug":
            debug = (value if equals else following).lower() not in ("false", "0", "no", "off")
    return debug
