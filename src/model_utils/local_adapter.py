"""What the launcher tells a process about its place in the job, read from the environment."""

import os
from dataclasses import dataclass

from src.utils.errors import UsageError

# msrun, and hand-started processes of its dynamic cluster, set MS_ROLE; a rank table start-up sets the other two.
_LAUNCHED = ("MS_ROLE", "RANK_TABLE_FILE")


@dataclass(frozen=True)
class Place:
    """Whether a launcher started this process, and the rank and number of ranks that it announced."""

    launched: bool
    rank: int = 0
    world_size: int = 1


def launcher_place() -> Place:
    """Read the launcher's variables. Raises UsageError when they do not hold numbers."""
    if not any(os.environ.get(name) for name in _LAUNCHED):
        return Place(launched=False)
    # A process of a dynamic cluster without RANK_ID gets its rank from the scheduler.
    return Place(True, _number("RANK_ID", 0), _number("RANK_SIZE", _number("MS_WORKER_NUM", 1)))


def _number(name: str, default: int) -> int:
    value = os.environ.get(name, str(default))
    if not value.isdecimal():
        raise UsageError(f"the launcher set {name}={value!r}, a whole number was expected; start the job with msrun")
    return int(value)
