"""Jobs in the tests: starting one, looking for its processes, and waiting for what it does."""

import os
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from commands import ROOT
from forked import Forks

START = 120  # seconds that a job may take to get going on a busy machine
MARK = "JOB_OF_A_TEST"  # an environment variable that every process of a job inherits


def processes_of(mark: Path) -> list[int]:
    """The processes, zombies left out, that were started with MARK in their environment, or hold that folder open."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            marked = wanted in (process / "environ").read_bytes().split(b"\0")  # a zombie's is empty
            if marked or str(mark) in opened(process):
                found.append(int(process.name))
    return found


def opened(process: Path) -> set[str]:
    """What the process holds open."""
    found = set()
    for link in (process / "fd").iterdir():
        with suppress(OSError):
            found.add(os.readlink(link))  # noqa: PTH115, of what may be no file
    return found


def wait_for(what: Callable[[], object], seconds: float) -> object:
    """What `what` returns as soon as it is true."""
    end = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < end, f"nothing came within {seconds} s"
        time.sleep(0.05)
    return value


class Launched:
    """A running script in `folder`."""

    def __init__(self, script: str, *arguments: object, folder: Path, **settings: object):
        folder.mkdir(exist_ok=True)
        self.folder, environment = folder, {name: str(value) for name, value in settings.items()}
        self.process = subprocess.Popen(
            ["bash", str(ROOT / "scripts" / script), *map(str, arguments)],
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


class ForkedJob(Launched):
    """The same job without its script, whose processes import nothing, see forked_launcher.py."""

    def __init__(
        self, forks: Forks, script: str, ranks: int, net: str, dataset: str, data: Path, *more: object, folder: Path,
        namespace: str = "", core: int | str = "", **settings: object,
    ):  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, command = folder, "eval" if "_eval_" in script else "train"
        flags = ["--net", net, "--dataset", dataset, f"--{command}_data_dir", data, "--device_target", "CPU"]
        flags += ["--ckpt_files", *more] if command == "eval" else more
        self._output, errors = (folder.parent / f"{folder.name} {stream}.txt" for stream in ("stdout", "stderr"))
        with pytest.MonkeyPatch.context() as patch:
            for name, value in settings.items():
                patch.setenv(name, str(value))
            argv = [namespace, core, command, "CPU", ranks, "", folder, *flags]
            self.process = forks.start("tests/launch/forked_launcher", argv, ROOT, self._output, errors)

    def done(self) -> tuple[int, str, str]:
        status = self.process.wait(300)
        assert processes_of(self.folder) == []
        errors = self.process.stderr.read_text().splitlines() or [""]
        return status, self._output.read_text(), errors[-1]
