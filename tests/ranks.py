"""Jobs of several ranks whose processes are forked, as msrun starts them: each would import MindSpore for seconds.

That msrun starts them so is shown by tests/launch/test_launch.py and tests/test_modelarts.py.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import ROOT
from forked import Forks

from src.model_utils.local_adapter import STATUS_VARIABLE
from src.utils.job_status import done_status

PATIENCE = 500  # seconds


def run_ranks(forked: Forks, logs: Path, command: str, *argv: object, ranks: int = 2) -> list[str]:
    """Run `command`.py on some ranks; return what each of them printed."""
    port = free_port()
    job = {"MS_WORKER_NUM": ranks, "RANK_SIZE": ranks, "MS_SCHED_HOST": "127.0.0.1", "MS_SCHED_PORT": port}
    job |= {"MS_TOPO_TIMEOUT": PATIENCE}
    places = {"scheduler": {"MS_ROLE": "MS_SCHED", "RANK_ID": 0}} | {
        f"worker_{rank}": {"MS_ROLE": "MS_WORKER", "RANK_ID": rank, "DEVICE_ID": rank, "MS_NODE_ID": rank}
        for rank in range(ranks)
    }
    logs.mkdir(parents=True, exist_ok=True)
    job |= {STATUS_VARIABLE: logs}
    processes = {}
    for name, place in places.items():
        with pytest.MonkeyPatch.context() as patch:
            for variable, value in (job | place).items():
                patch.setenv(variable, str(value))
            log = logs / f"{name}.log"
            processes[name] = forked.start(command, argv, ROOT, log, log)
    end = time.monotonic() + PATIENCE
    failed: list[str] = []
    # As src/launch/supervisor.py: they are not waited for while MindSpore ends them, for nine seconds.
    while not (failed or is_done(logs, "scheduler", ranks) or time.monotonic() > end):
        time.sleep(0.02)
        failed = [
            name
            for name, process in processes.items()
            if process.poll() is not None and not (process.poll() <= 0 and is_done(logs, name, ranks))
        ]
    for process in processes.values():
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    outputs = {name: (logs / f"{name}.log").read_text() for name in processes}
    statuses = {name: process.returncode for name, process in processes.items()}
    assert not failed and is_done(logs, "scheduler", ranks), f"first {failed} of {statuses}: {outputs}"
    return [outputs[f"worker_{rank}"] for rank in range(ranks)]


def is_done(status: Path, name: str, ranks: int) -> bool:
    """Whether it has done its work; MindSpore may crash when it ends the process, see done_file."""
    own = range(ranks) if name == "scheduler" else [int(name.removeprefix("worker_"))]
    return all(done_status(status, rank) == 0 for rank in own)


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def msrun(logs: Path, *command: object, ranks: int = 2, **environment: str) -> list[str]:
    """Run `command` on some ranks, with `environment` added; return what each printed."""
    scripts = Path(sys.executable).parent
    path = f"{scripts}{os.pathsep}{os.environ['PATH']}"  # msrun starts the first `python` there
    launcher = [scripts / "msrun", f"--worker_num={ranks}", f"--local_worker_num={ranks}", "--join=True"]
    launcher += [f"--master_port={free_port()}", f"--log_dir={logs}"]
    argv = [*launcher, *map(str, command)]
    logs.mkdir(parents=True, exist_ok=True)
    own = {"PATH": path, "PYTHONPATH": str(ROOT), STATUS_VARIABLE: str(logs)}
    environment = os.environ | own | environment
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, timeout=200)
    outputs = [(logs / f"worker_{rank}.log").read_text() for rank in range(ranks)]
    codes = re.findall(rb"Error code: (-?\d+)", done.stdout + done.stderr)
    crashed_at_the_end = codes and all(int(code) < 0 for code in codes) and is_done(logs, "scheduler", ranks)
    assert done.returncode == 0 or crashed_at_the_end, outputs
    return outputs
