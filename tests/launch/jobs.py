"""Jobs in the tests: starting one, looking for its processes, and waiting for what it does."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from commands import ROOT

START = 120  # seconds that a job may take to get going on a busy machine
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


class Launched:
    """A running script in `folder`; `prefix` goes before the command."""

    def __init__(self, script: str, *arguments: object, folder: Path, prefix: tuple[str, ...] = (), **settings: object):
        folder.mkdir(exist_ok=True)
        self.folder, environment = folder, {name: str(value) for name, value in settings.items()}
        self.process = subprocess.Popen(
            [*prefix, "bash", str(ROOT / "scripts" / script), *map(str, arguments)],
            cwd=folder, env=os.environ | {MARK: str(folder)} | environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def file(self, pattern: str) -> Path:
        """The file that matches `pattern`, waited for; of several the last by name."""
        return wait_for(lambda: sorted(self.folder.glob(pattern)), START)[-1]

    def pid(self, name: str) -> int:
        return int(self.file(f"logs/*/pids/{name}").read_text())

    def done(self) -> tuple[int, str, str]:
        """(exit status, output, last line on stderr) when it has ended, with nothing left of it."""
        output, errors = self.process.communicate(timeout=300)
        assert processes_of(self.folder) == []
        return self.process.returncode, output, (errors.splitlines() or [""])[-1]
