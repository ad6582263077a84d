"""Having a worker try the rows, and going on with a new one when it dies or hangs."""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from scripts.device_test.worker import FAILED
from src.launch.processes import die_with_parent

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Result:
    """What came of one row: pass, FAIL or - (not applicable), the figure or the reason, and how long it took."""

    row: str
    verdict: str
    figure: str
    seconds: float = 0.0


def try_rows(
    order: Mapping[str, object],
    limits: Mapping[str, float],
    log: Path,
    say: Callable[[Result], None],
    module: str = "scripts.device_test.worker",
) -> list[Result]:
    """Try the rows of `order` (see the worker). limits: seconds of each row. Every row gets a result.

    What the worker and its programs print goes to `log`.
    """
    results: list[Result] = []
    rest = list(order["rows"])
    while rest:
        found = _one_worker({**order, "rows": rest}, limits, log, say, module)
        results += found
        rest = rest[len(found) :]
    return results


def _one_worker(
    order: Mapping[str, object], limits: Mapping[str, float], log: Path, say: Callable[[Result], None], module: str
) -> list[Result]:
    """The results of one worker, at least one: of the row in which it died or was ended, that is the last."""
    read_end, write_end = os.pipe()
    parent, results, begun = os.getpid(), [], order["rows"][0]
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", module, str(write_end), json.dumps(order)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=(write_end,),
            start_new_session=True,
            preexec_fn=lambda: die_with_parent(parent),
        )
    os.close(write_end)
    started = time.monotonic()
    reason = ""
    with os.fdopen(read_end, "rb", buffering=0) as answers, selectors.DefaultSelector() as selector:
        selector.register(answers, selectors.EVENT_READ)
        pending = b""
        while True:
            left = started + limits[begun] - time.monotonic()
            if left <= 0 or not selector.select(left):
                reason = f"took more than {limits[begun]:g} s"
                break
            block = answers.read(2**16)
            if not block:
                break
            *lines, pending = (pending + block).split(b"\n")
            for line in map(json.loads, lines):
                started, begun = time.monotonic(), line["row"]
                if "verdict" in line:
                    results.append(Result(**line))
                    say(results[-1])
    _end(process, 0 if reason else 1 if len(results) < len(order["rows"]) else 30)
    if len(results) < len(order["rows"]):
        status = process.returncode
        how = f"was ended by signal {-status}" if status < 0 else f"ended with exit status {status}"
        name = order["rows"][len(results)]
        results.append(Result(name, FAILED, reason or f"its process {how}; see the log", time.monotonic() - started))
        say(results[-1])
    return results


def _end(process: subprocess.Popen, seconds: float) -> None:
    """Wait so long for the worker, then end it, if it stays, with all that it has started."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
