"""Folders and files that are named after the time and never take another's place."""

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

_STAMPED = re.compile(r"(\d{4}-\d\d-\d\d_time_\d\d_\d\d_\d\d)(?:_(\d{1,9}))?")


def time_stamp(now: datetime | None = None) -> str:
    """The name of what starts now: `YYYY-MM-DD_time_HH_MM_SS`."""
    return (now or datetime.now()).strftime("%Y-%m-%d_time_%H_%M_%S")


def stamp_order(name: str) -> tuple:
    """Sorts names by the time in them, then by the number that `make_new` added; names of another form come first.

    Unlike the files' own times, which a copy changes.
    """
    found = _STAMPED.fullmatch(name)
    return (1, found[1], int(found[2] or 0)) if found else (0, name, 0)


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
