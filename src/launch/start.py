"""One start of a job's processes on this host, by msrun."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from src.launch.job import Job
from src.launch.network import free_port
from src.launch.processes import die_with_parent
from src.launch.worker import ASSIGNMENT_VARIABLE, Assignment, pid_file
from src.model_utils.local_adapter import STATUS_VARIABLE
from src.utils.errors import ReportedError
from src.utils.stamped import make_new, time_stamp

# msrun, as a module of this interpreter: the script of that name begins with the path of the one it was installed for,
# which an environment that was moved does not have any more. The user's folder, which comes first on the path, is none
# of its business.
_MSRUN = "import sys; del sys.path[0]; from mindspore.parallel.cluster.run import main; main()"
_WORKER = Path(__file__).with_name("worker.py")
# What an earlier launcher may have left in the user's environment; msrun sets these for each process.
_STALE = ("MS_ROLE", "MS_NODE_ID", "RANK_ID", "RANK_SIZE", "DEVICE_ID", "RANK_TABLE_FILE", "MS_SIMULATION_LEVEL")


@dataclass(frozen=True)
class Member:
    """One process of the job. rank None: the scheduler."""

    rank: int | None
    log: Path
    pid_file: Path

    def __str__(self) -> str:
        return "the scheduler" if self.rank is None else f"rank {self.rank}"


@dataclass(frozen=True)
class Start:
    """The folder of this start, msrun's running process, and the processes that it is to start.

    The folder holds the logs, `status` (see src.utils.job_status) and `pids`, the process numbers.
    """

    folder: Path
    msrun: subprocess.Popen
    members: tuple[Member, ...]

    @property
    def msrun_log(self) -> Path:
        """What msrun itself says."""
        return self.folder / "msrun.log"

    @property
    def status(self) -> Path:
        """Where the ranks leave their signs of life."""
        return self.folder / "status"


def start(job: Job, flags: Sequence[str], number: int) -> Start:
    """Start the job's processes with `flags` for the command; `number` counts the starts from 0.

    Raises ReportedError when MindSpore is not there or the log folder cannot be made.
    """
    bin_folder = Path(sys.executable).parent
    if not find_spec("mindspore") or not shutil.which("python", path=bin_folder):
        raise ReportedError(
            f"{sys.executable} has no MindSpore, or no `python` beside it; make an environment: bash "
            "scripts/quickstart.sh, or python3 -m venv and pip install -r requirements.txt there; python -m src.doctor "
            "says what is missing"
        )
    settings = job.settings
    try:
        folder = make_new(Path.cwd() / "logs" / time_stamp(), lambda path: path.mkdir(parents=True))
        pids, status = folder / "pids", folder / "status"
        pids.mkdir()
        status.mkdir()
    except OSError as error:
        raise ReportedError(f"the log folder cannot be made: {error}; start in a folder of yours") from error
    # An old rank of another host, which has not noticed the failure yet, must not meet the new scheduler.
    port = settings.master_port + number if settings.master_port else free_port(settings.master_addr)
    command = [
        *(sys.executable, "-c", _MSRUN),
        "--join=False",
        f"--worker_num={job.world_size}",
        f"--local_worker_num={job.device_num}",
        f"--master_addr={settings.master_addr}",
        f"--master_port={port}",
        f"--node_rank={settings.node_rank}",
        f"--log_dir={folder}",
        f"--cluster_time_out={settings.cluster_timeout}",
        *([f"--rank_table_file={job.rank_table}"] if job.rank_table else []),
        str(_WORKER),
        job.command,
        *flags,
    ]
    members = [Member(rank, folder / f"worker_{rank}.log", pid_file(pids, rank)) for rank in job.ranks]
    if settings.is_master:
        members.append(Member(None, folder / "scheduler.log", pid_file(pids, None)))
    print(f"starting: {shlex.join(command)}")
    print(f"logs are in {folder}; below is rank {job.ranks[0]}'s", flush=True)
    assignment = Assignment(
        supervisor=os.getpid(),
        pids=str(pids),
        output=str(Path.cwd() / job.command),
        device_ids=job.device_ids,
        core_shares=job.device_num if job.target == "CPU" else 0,
    )
    environment = {name: value for name, value in os.environ.items() if name not in _STALE} | {
        "PATH": f"{bin_folder}{os.pathsep}{os.environ.get('PATH', os.defpath)}",  # msrun starts the first `python`
        ASSIGNMENT_VARIABLE: assignment.to_json(),
        STATUS_VARIABLE: str(status),
        # How long a CPU collective waits for the slowest rank. Beyond it the supervisor ends the job.
        "MS_CPU_COMM_OP_TIMEOUT": str(settings.hang_timeout),
    }
    if job.visible_devices:
        environment["CUDA_VISIBLE_DEVICES"] = job.visible_devices
    supervisor = os.getpid()
    with (folder / "msrun.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: die_with_parent(supervisor),
        )
    return Start(folder, process, tuple(members))
