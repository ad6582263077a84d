"""Folders and files that are named after the time and never take another's place."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path


def time_stamp(now: datetime | None = None) -> str:
    """The name of what starts now: `YYYY-MM-DD_time_HH_MM_SS`."""
    return (now or datetime.now()).strftime("%Y-%m-%d_time_%H_%M_%S")


def make_new(path: Path, make: Callable[[Path], object]) -> Path:
    """`make(path)`, or with `_1`, `_2`, ... behind the stem until `make` raises no FileExistsError; the path made.

    Raises that error when what is in the way is not `path` but something above it.
    """
    candidate, attempt = path, 0
    while True:
        try:
            make(candidate)
            return candidate
        except FileExistsError:
            if not path.parent.is_dir():
                raise
            attempt += 1
            candidate = path.with_name(f"{path.stem}_{attempt}{path.suffix}")
