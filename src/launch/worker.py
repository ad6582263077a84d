"""What msrun starts in the place of train.py or eval.py: ties the process to the supervisor, then becomes the command.

python src/launch/worker.py COMMAND [FLAG VALUE]...

Run by its path, in the user's folder, which may have a `src` of its own: the checkout comes first on the path.
"""

import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[0] = str(ROOT)

from src.launch.processes import die_with_parent, state_and_parent  # noqa: E402
from src.model_utils.local_adapter import CORES_VARIABLE  # noqa: E402

ASSIGNMENT_VARIABLE = "DENSENET_ASSIGNMENT"
_POLL = 0.02  # seconds


@dataclass(frozen=True)
class Assignment:
    """What the supervisor tells the processes that msrun starts for it.

    supervisor: its process number. pids: the folder in which each leaves its own number. output: save_ckpt_path; for
    train.py the rank is put behind it. device_ids: of the local ranks, empty when they are 0, 1, ... core_shares: among
    how many ranks this host's cores are shared out; 0 leaves them to all.
    """

    supervisor: int
    pids: str
    output: str
    device_ids: tuple[int, ...] = ()
    core_shares: int = 0

    def to_json(self) -> str:
        """For the environment variable ASSIGNMENT_VARIABLE."""
        return json.dumps(asdict(self))


def pid_file(pids: Path, rank: int | None) -> Path:
    """Where a rank, or with None the scheduler, leaves its process number."""
    return pids / ("scheduler" if rank is None else f"rank_{rank}")


def cores_of(share: int, shares: int, cores: list[int]) -> set[int]:
    """The part number `share` of `cores`, shared out evenly; of more shares than cores each gets one in turn."""
    if shares > len(cores):
        return {cores[share % len(cores)]}
    return set(cores[share * len(cores) // shares : (share + 1) * len(cores) // shares])


def main(command: str, *flags: str) -> None:
    """Become `command`.py with `flags`."""
    assignment = Assignment(**json.loads(os.environ[ASSIGNMENT_VARIABLE]))
    rank, local_rank = int(os.environ["RANK_ID"]), int(os.environ.get("DEVICE_ID", "0"))
    is_scheduler = os.environ["MS_ROLE"] == "MS_SCHED"
    leave_pid(pid_file(Path(assignment.pids), None if is_scheduler else rank))
    wait_for_adoption(assignment.supervisor)
    die_with_parent(assignment.supervisor)
    if os.getpgrp() != os.getpid():
        os.setsid()  # of the scheduler; msrun did it for the ranks. Ctrl-C is to reach the supervisor only
    if not is_scheduler:
        if assignment.device_ids:
            os.environ["DEVICE_ID"] = str(assignment.device_ids[local_rank])
        if assignment.core_shares:
            cores = cores_of(local_rank, assignment.core_shares, sorted(os.sched_getaffinity(0)))
            os.environ[CORES_VARIABLE] = ",".join(map(str, sorted(cores)))
            os.sched_setaffinity(0, range(os.cpu_count()))  # until it has joined, see join_group
    output = f"{assignment.output}{rank}" if command == "train" else assignment.output
    # The user's own --save_ckpt_path comes later, and so wins.
    argv = [sys.executable, str(ROOT / f"{command}.py"), f"--save_ckpt_path={output}", *flags]
    os.execv(sys.executable, argv)  # noqa: S606


def leave_pid(path: Path) -> None:
    """Write this process's number, whole or not at all."""
    part = path.with_name(f".{path.name}")
    part.write_text(str(os.getpid()))
    part.replace(path)


def wait_for_adoption(supervisor: int) -> None:
    """Return when msrun, our parent, has ended and left us to `supervisor`; exit when that has ended itself."""
    while (parent := os.getppid()) != supervisor:
        if state_and_parent(parent)[1] != supervisor and os.getppid() != supervisor:
            sys.exit("error: the launcher has ended before this process began")
        time.sleep(_POLL)


if __name__ == "__main__":
    main(*sys.argv[1:])
