"""Commands as processes of their own that need not import MindSpore first: each is forked from one that has.

Three of the four seconds of a command that ends with an error are imports. What a process writes on stderr, its exit
status, its limits and its working directory are those of `python COMMAND.py ...` all the same.
"""

import json
import os
import resource
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class Forks:
    """Runs commands, one at a time."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, __file__], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(
        self, command: str, argv: Sequence[object], cwd: Path, *, max_file_size: int = 0
    ) -> subprocess.CompletedProcess:
        """Run `command`.py in the folder `cwd` with this process's environment, and files no longer than that."""
        with tempfile.TemporaryDirectory() as folder:
            order = {
                "command": command,
                "argv": [*map(str, argv)],
                "cwd": str(cwd),
                "environment": dict(os.environ),
                "folder": folder,
                "max_file_size": max_file_size,
            }
            self._server.stdin.write(json.dumps(order) + "\n")
            self._server.stdin.flush()
            status = int(self._server.stdout.readline())
            stdout, stderr = ((Path(folder) / name).read_text() for name in ("stdout", "stderr"))
        return subprocess.CompletedProcess(order["argv"], status, stdout, stderr)


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
    """Fork for each line on stdin, and answer with the exit status. A child returns from here and goes on alone."""
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            become(order)
            return
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(status, file=answers, flush=True)


def become(order: dict) -> None:
    """Be the process that was asked for, up to its first line."""
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["environment"])
    for descriptor, name in ((0, os.devnull), (1, "stdout"), (2, "stderr")):
        opened = os.open(os.path.join(order["folder"], name), os.O_RDWR | os.O_CREAT)  # noqa: PTH118
        os.dup2(opened, descriptor)
        os.close(opened)
    if order["max_file_size"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["max_file_size"], order["max_file_size"]))
    script = str(ROOT / f"{order['command']}.py")
    sys.argv = [script, *order["argv"]]
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    from src.utils.signals import hold_interrupts

    hold_interrupts()  # as each command does, before its imports start threads
    import train  # noqa: F401

    serve()
