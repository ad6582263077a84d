"""Commands as processes of their own that need not import MindSpore first: each is forked from one that has.

Three of the four seconds of a command that ends with an error are imports. What a process writes on stderr, its exit
status, its limits and its working directory are those of `python COMMAND.py ...` all the same.
"""

import gc
import json
import os
import resource
import runpy
import selectors
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).resolve().parents[1]


class Forks:
    """Runs commands, one at a time, or starts them. drawn: they draw pictures, which takes a third of a tiny run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server = subprocess.Popen(
            [sys.executable, __file__],
            cwd=ROOT,
            env=dict(os.environ),  # without what MindSpore writes behind Python's back: OMP_NUM_THREADS=1
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self, command: str, argv: Sequence[object], cwd: Path, *, max_file_size: int = 0, drawn: bool = False
    ) -> subprocess.CompletedProcess:
        """Run `command`.py in the folder `cwd` with this process's environment, and files no longer than that."""
        order = _order(command, argv, cwd, max_file_size, drawn)
        status, stdout, stderr = self._ask(order)
        return subprocess.CompletedProcess(order["argv"], status, stdout, stderr)

    def start(
        self, command: str, argv: Sequence[object], cwd: Path, stdout: Path, stderr: Path, *,
        max_file_size: int = 0, drawn: bool = False,
    ) -> "Started":  # fmt: skip
        """As `run`, but without waiting for it; what it writes is added to the two files."""
        order = _order(command, argv, cwd, max_file_size, drawn) | {"outputs": [str(stdout), str(stderr)]}
        return Started(self._ask(order), stderr, self._ask)

    def talk(self, command: str, argv: Sequence[object], environment: Mapping[str, str], stderr: Path) -> "Talking":
        """As `start`, with pipes for stdin and stdout, in a session of its own and with that environment."""
        with tempfile.TemporaryDirectory() as folder:
            pipes = {name: os.path.join(folder, name) for name in ("stdin", "stdout")}  # noqa: PTH118
            for path in pipes.values():
                os.mkfifo(path, 0o600)
            order = _order(command, argv, ROOT, 0, drawn=False) | {"environment": dict(environment)}
            order |= {"stdin": pipes["stdin"], "outputs": [pipes["stdout"], str(stderr)], "own_session": True}
            found = Talking(self._ask(order), stderr, self._ask)
            found.stdout = open(pipes["stdout"])  # noqa: PTH123, SIM115 - each waits for the child to open it too
            found.stdin = open(pipes["stdin"], "w")  # noqa: PTH123, SIM115
            return found

    @contextmanager
    def interpreter(self, path: Path) -> Iterator[None]:
        """While it is open, `path` is a program like python: `path COMMAND.py ARGUMENT...` forks the command."""
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("")  # a name that the system chooses, in no folder
            listener.listen()
            name = listener.getsockname().decode()
            words = [sys.executable, "-SE", str(Path(__file__).with_name("forked_client.py")), name[1:]]
            path.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
            path.chmod(0o755)
            threading.Thread(target=self._answer, args=(listener,), daemon=True).start()
            try:
                yield
            finally:
                listener.shutdown(socket.SHUT_RDWR)

    def _answer(self, listener: socket.socket) -> None:
        """Fork what each client asks for, and tell it the exit status."""
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # it was shut down
                return
            with connection, connection.makefile("rw") as lines:
                asked = json.loads(lines.readline())
                script, *argv = asked["argv"]
                order = _order(Path(script).stem, argv, asked["cwd"], 0, drawn=False) | asked | {"argv": argv}
                print(Started(self._ask(order), Path(asked["outputs"][1]), self._ask).wait(200), file=lines, flush=True)

    def _ask(self, order: dict) -> object:
        with self._lock:
            self._server.stdin.write(json.dumps(order) + "\n")
            self._server.stdin.flush()
            return json.loads(self._server.stdout.readline())


def _order(command: str, argv: Sequence[object], cwd: Path, max_file_size: int, drawn: bool) -> dict:
    return {
        "command": command,
        "argv": [*map(str, argv)],
        "cwd": str(cwd),
        "environment": dict(os.environ),
        "max_file_size": max_file_size,
        "drawn": drawn,
    }


class Started:
    """A process that `Forks.start` has started."""

    def __init__(self, pid: int, stderr: Path, ask: Callable[[dict], object]) -> None:
        self.pid, self.stderr, self._ask = pid, stderr, ask
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit status, that of a signal negative; None while it runs."""
        if self.returncode is None:
            self.returncode = self._ask({"poll": self.pid})
        return self.returncode

    def wait(self, seconds: float) -> int:
        """Its exit status; it is killed when it takes longer."""
        end = time.monotonic() + seconds
        while self.poll() is None:
            if time.monotonic() > end:
                self.send_signal(signal.SIGKILL)
            time.sleep(0.01)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


class Talking(Started):
    """A process that `Forks.talk` has started, as a `subprocess.Popen` with pipes."""

    stdin: TextIO
    stdout: TextIO

    def wait(self, seconds: float = 60) -> int:
        """See `Started`."""
        return super().wait(seconds)


@contextmanager
def forks() -> Iterator[Forks]:
    """While it is open there is a process to fork from."""
    found = Forks()
    try:
        yield found
    finally:
        found._server.stdin.close()
        found._server.wait(60)


def serve() -> None:
    """Fork for each line on stdin that names a command, and answer on stdout.

    The answer is the exit status and what was written on stdout and stderr, which are pipes: a limit on the size of
    files must not cut them. Of a process that writes into files it is the id, and a later line asks for its status.
    A child returns from here and goes on alone.
    """
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        order = json.loads(line)
        if "poll" in order:
            pid, status = os.waitpid(order["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            pipes = [] if "outputs" in order else [os.pipe(), os.pipe()]
            child = os.fork()
            if child == 0:
                become(order, [write_end for _, write_end in pipes])
                return
            answer = child
            for _, write_end in pipes:
                os.close(write_end)
            if pipes:
                texts = read_all([read_end for read_end, _ in pipes])
                answer = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), *texts]
        print(json.dumps(answer), file=answers, flush=True)


def read_all(descriptors: list[int]) -> list[str]:
    """What comes out of each pipe until it is closed."""
    contents = dict.fromkeys(descriptors, b"")
    with selectors.DefaultSelector() as selector:
        for descriptor in descriptors:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                part = os.read(key.fd, 2**16)
                contents[key.fd] += part
                if not part:
                    selector.unregister(key.fd)
                    os.close(key.fd)
    return [content.decode() for content in contents.values()]


def become(order: dict, outputs: list[int]) -> None:
    """Be the process that was asked for, up to its first line. outputs: its stdout and stderr, if not files."""
    if order.get("own_session"):
        os.setsid()
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    outputs = [os.open(path, flags, 0o600) for path in order.get("outputs", ())] or outputs
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["environment"])
    for descriptor, opened in enumerate([os.open(order.get("stdin", os.devnull), os.O_RDONLY), *outputs]):
        os.dup2(opened, descriptor)
        os.close(opened)
    if order["max_file_size"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["max_file_size"], order["max_file_size"]))
    sys.path += [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path not in ("", *sys.path)]
    script = str(ROOT / f"{order['command']}.py")
    sys.argv = [script, *order["argv"]]
    if not order["drawn"]:
        _kept.append(no_pictures())
        _kept[0].__enter__()
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    from src.utils.signals import hold_interrupts

    hold_interrupts()  # as each command does, before its imports start threads
    from matplotlib.backends import backend_agg  # noqa: F401

    import eval  # noqa: F401
    import export  # noqa: F401
    import train  # noqa: F401
    from src.datasets.digits import open_digits
    from tests.pictures import no_pictures

    for part in ("train", "eval"):
        open_digits(part)  # is kept, which each would do again

    gc.collect()
    gc.freeze()  # MindSpore's collections before each compilation need not look at what the libraries have made
    _kept: list = []  # of what is left empty until the process ends
    serve()
