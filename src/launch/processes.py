"""Linux's means of keeping a family of processes together: no child outlives its parent, and no orphan gets lost."""

import ctypes
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

_SET_PARENT_DEATH_SIGNAL, _SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>
_KILL_SECONDS = 30  # a process that a driver holds in the kernel may outlive its SIGKILL


def adopt_orphans() -> None:
    """Make the orphans among this process's descendants its own children from now on. Raises OSError."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent`, its parent, ends; also when that has happened already."""
    _prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl failed")


def state_and_parent(pid: int) -> tuple[str, int]:
    """The letter of a process's state (R, S, T for stopped, ...) and its parent's number; ("", 0) when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return "", 0
    state, parent = text[text.rindex(")") + 1 :].split()[:2]  # the name before it may hold anything
    return state, int(parent)


def kill_children(reap: Callable[[], bool]) -> None:
    """SIGKILL the children, then what they leave as orphans (see `adopt_orphans`), until none is left.

    `reap` collects the ended children and says whether there are others.
    """
    end = time.monotonic() + _KILL_SECONDS
    while reap() and time.monotonic() < end:
        for path in Path("/proc").glob("[0-9]*"):
            if state_and_parent(int(path.name))[1] == os.getpid():
                os.kill(int(path.name), signal.SIGKILL)  # ours until it is reaped: the number is not used again
        time.sleep(0.02)
