"""Untrusted input in a process of its own, forked from one that has imported everything: what became of it."""

import os
import pickle
import resource
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from src.utils.errors import ReportedError

MOST_BYTES = 2 * 2**30
MOST_TEXT = 10_000  # a pipe takes 65,536 bytes at once


@dataclass(frozen=True)
class Outcome:
    """kind: 'done', 'refused' (a ReportedError), 'traceback', 'killed' (by `text`, a signal) or 'late'.

    value: what the function returned. text: the error's. max_bytes: the most memory that the child
    had beyond what it began with.
    """

    kind: str
    value: object
    text: str
    max_bytes: int


def in_child(work: Callable[[], object], seconds: float = 60) -> Outcome:
    """Call `work` in a forked child that may have MOST_BYTES more address space than this process has now."""
    reader, writer = os.pipe()
    before = _pages(1)
    child = os.fork()
    if not child:
        os.close(reader)
        _answer(work, writer)
    os.close(writer)
    os.set_blocking(reader, False)
    answer, end = b"", time.monotonic() + seconds
    while True:
        answer += _read(reader)
        pid, status, usage = os.wait4(child, os.WNOHANG)
        late = not pid and time.monotonic() > end
        if late:
            os.kill(child, signal.SIGKILL)
            _, status, usage = os.wait4(child, 0)
        if pid or late:
            break
        time.sleep(0.002)
    answer += _read(reader)
    os.close(reader)
    kind, value, text = pickle.loads(answer) if answer and not late else ("late" if late else "killed", None, "")  # noqa: S301
    if os.WIFSIGNALED(status) and not late:
        kind, text = "killed", signal.Signals(os.WTERMSIG(status)).name
    return Outcome(kind, value, text, max(0, usage.ru_maxrss * 1024 - before))


def _answer(work: Callable[[], object], writer: int) -> None:
    """What the child does."""
    code = 1
    try:
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 1)
        os.dup2(null, 2)
        present = _pages(0)
        resource.setrlimit(resource.RLIMIT_AS, (present + MOST_BYTES, present + MOST_BYTES))
        try:
            answer = ("done", work(), "")
        except ReportedError as error:
            answer = ("refused", None, str(error)[:MOST_TEXT])
        except BaseException:
            answer = ("traceback", None, traceback.format_exc()[-MOST_TEXT:])
        os.write(writer, pickle.dumps(answer))
        code = 0
    finally:
        os._exit(code)


def _pages(column: int) -> int:
    """Bytes that this process has: 0 of address space, 1 of memory."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
        return int(file.read().split()[column]) * os.sysconf("SC_PAGE_SIZE")


def _read(reader: int) -> bytes:
    try:
        return os.read(reader, 2**16)
    except BlockingIOError:
        return b""
