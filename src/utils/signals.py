"""Signals as a request that the training loop reads between two steps."""

import _thread
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


def hold_interrupts() -> None:
    """Keep SIGINT (Ctrl-C) pending, in this thread and those it starts from now on, until `deliver_interrupts`.

    While MindSpore 2.10 compiles or runs a graph, it puts its own SIGINT handler in place, which sends the process
    SIGTERM instead. A signal that every thread blocks never gets there. A command calls this before anything that
    starts threads, numpy included, is imported; an interrupt during those imports waits too, as they cannot be
    stopped cleanly.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def deliver_interrupts() -> None:
    """Have a thread wait for held interrupts and hand each to Python's handler. Does nothing when none are held."""

    def pass_on() -> None:
        while True:
            _thread.interrupt_main(signal.sigwait({signal.SIGINT}))

    if signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()):
        threading.Thread(target=pass_on, name="interrupts", daemon=True).start()


@contextmanager
def interrupts_end_at_once() -> Iterator[None]:
    """Have SIGINT end this process inside the `with`, whatever it does: for calls into MindSpore that keep Python's
    other threads from running for minutes. An interrupt that is ignored stays so.
    """
    handler = signal.getsignal(signal.SIGINT)
    if handler == signal.SIG_IGN or threading.current_thread() is not threading.main_thread():
        yield
        return
    held = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        if held:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, handler)


# Ctrl-C, a scheduler's request, a closed terminal, and a closed pipe behind stdout. Not SIGQUIT: it is the way to end a
# process at once.
_REQUESTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)


def _is_ignored(number: int) -> bool:
    """Whether whoever started this process had it ignore the signal, as a shell does for a job in its background
    (SIGINT) and nohup (SIGHUP). SIGPIPE says nothing: Python always ignores it.
    """
    return number != signal.SIGPIPE and signal.getsignal(number) == signal.SIG_IGN


class StopRequest:
    """While entered, the first signal of those that ask to stop only notes its number in `signal_number`; a second ends
    at once. What is ignored stays ignored.
    """

    def __init__(self) -> None:
        self.signal_number = 0
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        for number in _REQUESTS:
            if not _is_ignored(number):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.signal_number and number != signal.SIGPIPE:  # of which each line that is written brings another
            signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
            signal.raise_signal(number)
        self.signal_number = self.signal_number or number


def stop_is_requested_by(number: int) -> bool:
    """Whether the signal is taken as a request at this moment."""
    return isinstance(getattr(signal.getsignal(number), "__self__", None), StopRequest)
