"""`python -m src.launch` whose processes are forked, by MindSpore's own msrun: each would import MindSpore for seconds.

forked_launcher.py NETWORK_NAMESPACE CORE ARGUMENT...: run by tests/forked.py; the first two may be empty. That the
scripts start interpreters is shown by the other jobs of test_launch.py.
"""

import ctypes
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TextIO

from mindspore.parallel.cluster import run as msrun
from mindspore.parallel.cluster.process_entity import _api

from src.launch import __main__ as launcher
from src.launch import start, worker
from src.utils.errors import run

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET


class Forked:
    """As subprocess.Popen, of a process that calls `become` with the words of its command."""

    def __init__(
        self, become: Callable[[Sequence[str]], None], command: Sequence[str], *, stdout: TextIO,
        env: dict | None = None, preexec_fn: Callable[[], object] | None = None, start_new_session: bool = False, **_,
    ) -> None:  # fmt: skip
        self.returncode = None
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            if start_new_session:
                os.setsid()
            if preexec_fn:
                preexec_fn()
            if env is not None:
                os.environ.clear()
                os.environ.update(env)
            for descriptor in (1, 2):
                os.dup2(stdout.fileno(), descriptor)
            become(command)


def become_msrun(command: Sequence[str]) -> None:
    """What `python -c ... ARGUMENT...` does."""
    _api.subprocess = popen(become_worker)
    sys.argv = ["msrun", *command[command.index("-c") + 2 :]]
    msrun.main()
    sys.stdout.flush()
    os._exit(0)


def become_worker(command: Sequence[str]) -> None:
    """What `python worker.py ARGUMENT...` does, which becomes the command."""
    os.execv = become_command
    worker.main(*command[2:])


def become_command(_: str, argv: Sequence[str]) -> None:
    """What `python COMMAND.py ARGUMENT...` does; the exception that ends it ends this process too."""
    sys.argv = [*argv[1:]]
    runpy.run_path(argv[1], run_name="__main__")


def popen(become: Callable[[Sequence[str]], None]) -> SimpleNamespace:
    """In the place of the module subprocess."""
    return SimpleNamespace(Popen=partial(Forked, become), DEVNULL=subprocess.DEVNULL, STDOUT=subprocess.STDOUT)


def enter(namespace: str) -> None:
    """As `ip netns exec`."""
    with Path("/run/netns", namespace).open() as file:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(file.fileno(), _NEW_NETWORK) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")


if __name__ == "__main__":
    namespace, core, *argv = sys.argv[1:]
    if namespace:
        enter(namespace)
    if core:
        os.sched_setaffinity(0, {int(core)})
    os.open(argv[4], os.O_RDONLY | os.O_DIRECTORY)  # by this, which all inherit, `processes_of` finds them
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # as in a new process
    start.subprocess = popen(become_msrun)
    sys.exit(run(launcher.main, argv))
