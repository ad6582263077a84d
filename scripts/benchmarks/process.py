"""Processes that take turns: each is built once, and stopped as a whole while another one works."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from scripts.benchmarks.tasks import Task, Variant
from src.launch.processes import die_with_parent
from src.utils.errors import ReportedError

ROOT = Path(__file__).resolve().parents[2]
_RESERVE = 1.25  # memory wanted for a process, as a multiple of the most that is known to be needed


class MissingError(Exception):
    """A variant cannot be measured here; the message says why."""


class FailedError(Exception):
    """A variant's process ended."""


@dataclass(frozen=True)
class Setting:
    """How to measure. seconds: of a turn. folder: for logs. data: for files that the variants share."""

    rounds: int
    seconds: float
    threads: int
    quick: bool
    folder: Path
    data: Path


@dataclass
class Measurement:
    """images/s of each round, and the highest resident memory in MB, of one variant at one task.

    parts: of each round, the shares of the time that a variant says its parts take.
    """

    task: Task
    variant: Variant
    rates: list[float] = field(default_factory=list)
    parts: list[dict[str, float]] = field(default_factory=list)
    peak_mb: float = 0.0


class Process:
    """The process of one measurement, started when it is first needed, and again after `stop`."""

    def __init__(self, measurement: Measurement, setting: Setting) -> None:
        self.measurement = measurement
        self.held_mb = 0.0
        self._setting = setting
        self._process: subprocess.Popen | None = None

    @property
    def is_running(self) -> bool:
        """Whether it holds memory."""
        return self._process is not None

    def turn(self) -> None:
        """Work once and note the rate. Raises MissingError or FailedError; it is then stopped."""
        try:
            if self._process is None:
                self._start()
            else:
                os.killpg(self._process.pid, signal.SIGCONT)
            self._process.stdin.write(f"{self._setting.seconds}\n")
            self._process.stdin.flush()
            answer = self._answer()
            self.measurement.rates.append(answer["images_per_second"])
            self.measurement.parts.append(answer["parts"])
            # All its threads and processes: whatever spins or reads ahead would work in the others' turns.
            os.killpg(self._process.pid, signal.SIGSTOP)
        except (MissingError, FailedError, OSError) as error:
            status = self.stop()
            if isinstance(error, MissingError):
                raise
            raise FailedError(f"its process ended with status {status}; see {self.log}") from error

    def stop(self) -> int | None:
        """End it and all that it has started; return its exit status."""
        process, self._process, self.held_mb = self._process, None, 0.0
        if process is None:
            return None
        with suppress(ProcessLookupError):  # it has ended, and nothing is left of what it started
            os.killpg(process.pid, signal.SIGKILL)
        with suppress(OSError), process.stdin, process.stdout:  # what was not sent cannot be any more
            pass
        return process.wait()

    @property
    def log(self) -> Path:
        """What the libraries print."""
        return self._setting.folder / f"{self.measurement.task.name} {self.measurement.variant.name}.log"

    def _start(self) -> None:
        task, variant, setting = self.measurement.task, self.measurement.variant, self._setting
        words = [task.name, variant.name, "quick" if setting.quick else "full", str(setting.threads), str(setting.data)]
        threads = {name: str(setting.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        parent = os.getpid()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "scripts.benchmarks.worker", *words],
                cwd=ROOT,
                env=os.environ | threads | dict(variant.environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
                preexec_fn=lambda: die_with_parent(parent),
            )
        answer = self._answer()
        if "missing" in answer:
            raise MissingError(answer["missing"])

    def _answer(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            raise FailedError
        answer = json.loads(line)
        self.measurement.peak_mb = max(self.measurement.peak_mb, answer["peak_mb"])
        self.held_mb = answer["held_mb"]
        return answer


def take_turns(
    task: Task, variants: Sequence[Variant], setting: Setting, say: Callable[[str], None]
) -> tuple[list[Measurement], dict[str, str], list[str]]:
    """Every variant once in each round: A B C A B C.

    Returns the measurements of all rounds, why others are missing, by variant, and the variants that failed.
    """
    processes = [Process(Measurement(task, variant), setting) for variant in variants]
    missing: dict[str, str] = {}
    failed = []
    try:
        for number in range(1, setting.rounds + 1):
            for process in list(processes):
                name = process.measurement.variant.name
                make_room(process, processes)
                try:
                    process.turn()
                except (MissingError, FailedError) as error:
                    processes.remove(process)
                    missing[name] = str(error)
                    if isinstance(error, FailedError):
                        failed.append(name)
                    say(f"{task.name}: {name} is left out: {error}")
                else:
                    say(f"{task.name}, round {number}: {name} {process.measurement.rates[-1]:.4g} images/s")
    finally:
        for process in processes:
            process.stop()
    return [process.measurement for process in processes], missing, failed


def make_room(process: Process, processes: Sequence[Process], available_mb: Callable[[], float] | None = None) -> None:
    """Stop paused processes, those that hold most first, until the memory that `process` may need is free.

    What is stopped is built again for its next turn. Of a process that has not run, the need is taken to be that of
    the largest that has.
    """
    available_mb = available_mb or _available_mb
    needed = process.measurement.peak_mb or max(other.measurement.peak_mb for other in processes)
    needed = _RESERVE * needed - process.held_mb
    for other in sorted(processes, key=lambda other: -other.held_mb):
        if other is not process and other.is_running and available_mb() < needed:
            other.stop()


def _available_mb() -> float:
    for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 1024
    raise ReportedError("/proc/meminfo names no MemAvailable; this needs Linux 3.14 or later")
