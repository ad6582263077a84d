"""How a command's process ends: who is told that its work is done, and what is done when it ends in the middle."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

_told: list[Callable[[bool], None]] = []
_last_acts: list[Callable[[], None]] = []


def tell_when_done(tell: Callable[[bool], None]) -> None:
    """Have `tell` called when the command ends, with whether it did all that others may wait for."""
    _told.append(tell)


def tell_done(done: bool) -> None:
    """The command has ended: tell who asked for it, each once."""
    while _told:
        _told.pop()(done)


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
