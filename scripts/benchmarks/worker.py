"""The process of one variant of one task: builds it, warms up, then works when the benchmark gives it a turn.

Answers are lines of JSON on what was stdout; what the libraries print goes to stderr, a log file. A turn is asked for
with a line that holds its seconds. See `process.py` for the other side.
"""

import importlib
import json
import math
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from ctypes import CDLL
from pathlib import Path
from typing import TextIO

from scripts.benchmarks.tasks import Job, task_named, variant_named
from src.utils.errors import ReportedError

WARM_UP = 3  # steps; compilers work in the first, some also in the second
PATIENCE = 60.0  # seconds after which the work of compilers is done, even where steps take minutes


def main(task_name: str, variant_name: str, quick: str, threads: str, data: str) -> None:
    """The words that `process.py` gives."""
    channel = _take_stdout()
    task = task_named(task_name, quick == "quick")
    variant = variant_named(task, variant_name)
    if variant.one_core:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if variant.plain_onednn:
        # `import src` has set it. oneDNN, PyTorch's as well, reads it at the first operator.
        os.environ.pop("ONEDNN_MAX_CPU_ISA", None)
    try:
        module = importlib.import_module(f"scripts.benchmarks.{variant.module}")
        step = module.build(Job(task, variant, int(threads), Path(data)))
    except (ImportError, ReportedError) as error:
        traceback.print_exc()
        _answer(channel, (), missing=" ".join(str(error).split()))
        return
    warm_up(step)
    others = getattr(module, "OTHERS", ())  # processes that work for it
    _answer(channel, others)
    seconds_by_part = getattr(module, "seconds_by_part", dict)
    for line in sys.stdin:
        step()  # to be awake
        before = seconds_by_part()
        with busy_processes(variant.busy * int(threads)):
            rate, elapsed = _turn(step, task.batch, float(line))
        parts = {part: (total - before[part]) / elapsed for part, total in seconds_by_part().items()}
        _answer(channel, others, images_per_second=rate, parts=parts)


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """While inside, `count` processes compute. They are of this session: Linux shares cores between sessions first."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def warm_up(step: Callable[[], float]) -> None:
    """Call `step` WARM_UP times, but not again after PATIENCE."""
    start = time.perf_counter()
    for _ in range(WARM_UP):
        step()
        if time.perf_counter() - start > PATIENCE:
            return


def _turn(step, batch: int, seconds: float) -> tuple[float, float]:
    """Call `step` for at least `seconds` and at least once; images/s, and the seconds. `main` has called it before."""
    start, steps, elapsed = time.perf_counter(), 0, 0.0
    while elapsed < seconds or not steps:
        value = step()
        steps += 1
        elapsed = time.perf_counter() - start
    if not math.isfinite(value):
        raise ArithmeticError(f"a step gave {value}, expected a number")
    return steps * batch / elapsed, elapsed


def _take_stdout() -> TextIO:
    """stdout for the answers alone; from now on file descriptor 1, and so what C++ prints, is stderr."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel


def _answer(channel: TextIO, others: Iterable[int], **values: object) -> None:
    CDLL(None).malloc_trim(0)  # a paused process should not hold what it has freed
    memory = {"peak_mb": 0.0, "held_mb": 0.0}
    for process in ("self", *others):
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
        fields = dict(line.split(":", 1) for line in status)
        for key, name in (("peak_mb", "VmHWM"), ("held_mb", "VmRSS")):
            memory[key] += int(fields[name].split()[0]) / 1024
    print(json.dumps(values | memory), file=channel, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
