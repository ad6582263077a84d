"""Start a job's ranks on this host, and see to it that they end together; what scripts/run_distribute_*.sh call.

python -m src.launch train CPU 2 "" ~/runs --net densenet100 --dataset digits --device_target CPU
"""

import os
import signal
import sys
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from src.launch.job import Job, check_job
from src.launch.processes import adopt_orphans
from src.launch.start import Start, start
from src.launch.supervisor import Signals, watch
from src.utils.checkpoint_names import list_checkpoints
from src.utils.errors import ReportedError, UsageError, run
from src.utils.files import is_folder
from src.utils.job_status import RUN_FOLDER
from src.utils.stamped import make_new, time_stamp


class JobError(ReportedError):
    """A job did not end well; its exit status is that of the rank that failed first, or 128 + a signal's number."""

    def __init__(self, exit_status: int, message: str) -> None:
        super().__init__(message)
        self.exit_status = exit_status


def main(argv: Sequence[str]) -> None:
    """COMMAND DEVICE_TARGET DEVICE_NUM DEVICES FOLDER [FLAG VALUE]...: run the job in FOLDER.

    DEVICES is a rank table or `none` (Ascend), the visible devices (GPU) or empty (CPU). Raises JobError.
    """
    if len(argv) < 5 or argv[0] not in ("train", "eval"):
        raise UsageError("found too few arguments, expected those of a scripts/run_distribute_*.sh; use that")
    command, target, device_num, devices, folder, *flags = argv
    os.chdir(folder)
    job = check_job(command, target, device_num, devices, flags, os.environ)
    if job.settings.background and leave_to_background(Path(folder) / f"{command}_{time_stamp()}.log"):
        return
    adopt_orphans()
    signals = Signals()
    run_folder = None
    for number in count():
        started = start(job, job.flags if run_folder is None else resuming(job, run_folder), number)
        ending = watch(started, job.settings, signals)
        if ending.status == 0:
            return
        if not ending.restartable or number == job.settings.max_restarts:
            raise JobError(ending.status, ending.message)
        run_folder = folder_to_resume(started) or run_folder
        origin = f"going on from {run_folder}" if run_folder else "from the beginning"
        print(f"restart {number + 1} of {job.settings.max_restarts}, {origin}: {ending.message}", flush=True)


def leave_to_background(log: Path) -> bool:
    """Go on in the background, writing into a new file like `log`; True in the foreground, which has nothing to do."""
    try:
        log = make_new(log, lambda path: path.touch(exist_ok=False))
        descriptor = os.open(log, os.O_WRONLY)
    except OSError as error:
        raise ReportedError(f"cannot write {log}: {error.strerror}; start in a folder of yours") from error
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        print(f"running in the background as process {pid}, writing to {log}\nstop it: kill {pid}")
        return True
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    return False


def folder_to_resume(started: Start) -> Path | None:
    """Where rank 0 of this start wrote checkpoints, if it did and runs on this host."""
    try:
        folder = Path((started.status / RUN_FOLDER).read_text("utf-8").strip())
    except (OSError, ValueError):
        return None
    return folder if is_folder(folder) and list_checkpoints(folder) else None  # it is gone if nothing was made in it


def resuming(job: Job, folder: Path) -> tuple[str, ...]:
    """The job's flags, changed to go on from `folder`, of which the weights are not the pretrained ones any more."""
    unused = [f"--{key}=" for key in ("train_pretrained",) if getattr(job.config, key)]
    unused += ["--reset_head=false"] if job.config.reset_head else []
    return (*job.flags, *unused, f"--resume={folder}")


if __name__ == "__main__":
    sys.exit(run(main))
