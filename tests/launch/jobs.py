"""Jobs in the tests: looking for the processes that belong to one, and waiting for what it does."""

import time
from collections.abc import Callable
from pathlib import Path

MARK = "JOB_OF_A_TEST"  # an environment variable that every process of a job inherits


def processes_of(mark: Path) -> list[int]:
    """The processes, zombies left out, that were started with MARK in their environment."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (process / "environ").read_bytes().split(b"\0"):  # a zombie's is empty
                found.append(int(process.name))
        except OSError:
            continue
    return found


def wait_for(what: Callable[[], object], seconds: float) -> object:
    """What `what` returns as soon as it is true."""
    end = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < end, f"nothing came within {seconds} s"
        time.sleep(0.05)
    return value
