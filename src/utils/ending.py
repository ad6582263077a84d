"""How a command's process ends: who is told that its work is done, and what is done when it ends in the middle."""

import atexit
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_told: list[Callable[[int | None], None]] = []
_last_acts: list[Callable[[], None]] = []
_left_to_clean: dict[Path, Callable[[], None]] = {}


def tell_when_done(tell: Callable[[int | None], None]) -> None:
    """Have `tell` called when the command ends, with its exit status if it did all that others may wait for, else None.

    It has printed all that it had to say.
    """
    _told.append(tell)


def tell_done(status: int | None) -> None:
    """The command has ended: tell who asked for it, each once."""
    while _told:
        _told.pop()(status)


def clean_at_end(path: Path, act: Callable[[], None]) -> None:
    """Have `act`, which takes away what this process leaves at `path`, done once when it ends."""
    _left_to_clean[path] = act


def leave_behind(path: Path) -> None:
    """Have nothing done about `path` after all."""
    del _left_to_clean[path]


def left_to_clean() -> list[Path]:
    """What of this process will not be there when it has ended."""
    return [*_left_to_clean]


@atexit.register
def clean_up() -> None:
    """Do what is left of that now: the process may be killed before its interpreter ends. The latest first."""
    while _left_to_clean:
        _left_to_clean.popitem()[1]()


@contextmanager
def last_act(act: Callable[[], None]) -> Iterator[None]:
    """Have `act` done also when the process is ended from another thread while it is inside the `with`."""
    _last_acts.append(act)
    try:
        yield
    finally:
        _last_acts.remove(act)


def do_last_acts() -> None:
    """What whoever ends the process from another thread calls before; the latest first."""
    for act in reversed(_last_acts):
        act()
