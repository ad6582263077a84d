"""Commands as processes of their own that need not import MindSpore first: each is forked from one that has.

Three of the four seconds of a command that ends with an error are imports. What a process writes on stderr, its exit
status, its limits and its working directory are those of `python COMMAND.py ...` all the same.
"""

import json
import os
import resource
import runpy
import selectors
import subprocess
import sys
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
        order = {
            "command": command,
            "argv": [*map(str, argv)],
            "cwd": str(cwd),
            "environment": dict(os.environ),
            "max_file_size": max_file_size,
        }
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        status, stdout, stderr = json.loads(self._server.stdout.readline())
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
    """Fork for each line on stdin, and answer with the exit status and what was written on stdout and stderr, which are
    pipes: a limit on the size of files must not cut them. A child returns from here and goes on alone.
    """
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        order = json.loads(line)
        pipes = [os.pipe(), os.pipe()]
        child = os.fork()
        if child == 0:
            become(order, [write_end for _, write_end in pipes])
            return
        for _, write_end in pipes:
            os.close(write_end)
        texts = read_all([read_end for read_end, _ in pipes])
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps([status, *texts]), file=answers, flush=True)


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
    """Be the process that was asked for, up to its first line. outputs: its stdout and stderr."""
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["environment"])
    for descriptor, opened in enumerate([os.open(os.devnull, os.O_RDONLY), *outputs]):
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
