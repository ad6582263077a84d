"""What the launcher tells a process about its place in the job, read from the environment."""

import os
from dataclasses import dataclass
from pathlib import Path

from src.utils.errors import UsageError

# msrun, and hand-started processes of its dynamic cluster, set MS_ROLE; a rank table start-up sets the other two.
_LAUNCHED = ("MS_ROLE", "RANK_TABLE_FILE")
STATUS_VARIABLE, CORES_VARIABLE = "DENSENET_STATUS_DIR", "DENSENET_CORES"  # of this project's launcher, src/launch


@dataclass(frozen=True)
class Place:
    """Whether a launcher started this process, and what it announced: rank, number of ranks, and this rank's device.

    status_dir: the folder for signs of life (see src.utils.job_status), None when nobody reads them. cores: the numbers
    of those that this rank is to compute on, empty for all.
    """

    launched: bool
    rank: int = 0
    world_size: int = 1
    device_id: int = 0
    status_dir: Path | None = None
    cores: tuple[int, ...] = ()


def launcher_place() -> Place:
    """Read the launcher's variables. Raises UsageError when they do not hold numbers."""
    if not any(os.environ.get(name) for name in _LAUNCHED):
        return Place(launched=False)
    # A process of a dynamic cluster without RANK_ID gets its rank from the scheduler.
    status_dir, cores = os.environ.get(STATUS_VARIABLE), os.environ.get(CORES_VARIABLE)
    return Place(
        True,
        _number("RANK_ID", 0),
        _number("RANK_SIZE", _number("MS_WORKER_NUM", 1)),
        _number("DEVICE_ID", _number("ASCEND_DEVICE_ID", 0)),  # the second is all that ModelArts sets
        Path(status_dir) if status_dir else None,
        tuple(map(int, cores.split(","))) if cores else (),
    )


def _number(name: str, default: int) -> int:
    value = os.environ.get(name, str(default))
    if not value.isdecimal():
        raise UsageError(f"the launcher set {name}={value!r}, a whole number was expected; start the job with msrun")
    return int(value)
