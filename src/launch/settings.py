"""What the environment says about a job: the hosts, the time limits, the restarts."""

from collections.abc import Mapping
from dataclasses import dataclass

from src.utils.errors import UsageError

USUAL_PORT = 8118  # msrun's own
_ALONE = "127.0.0.1"
_DAYS = 86400 * 365


@dataclass(frozen=True)
class Settings:
    """Times in seconds.

    master_port 0: any free one. hang_timeout: how long nothing may move. cluster_timeout: how long the ranks of all
    hosts may take to find each other. stop_timeout: how long they may take to save and end after a signal.
    """

    node_num: int = 1
    node_rank: int = 0
    master_addr: str = _ALONE
    master_port: int = 0
    max_restarts: int = 0
    hang_timeout: int = 1800
    cluster_timeout: int = 600
    stop_timeout: int = 60
    background: bool = False

    @property
    def is_master(self) -> bool:
        """Whether this host runs the scheduler and rank 0."""
        return self.node_rank == 0


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read NODE_NUM, NODE_RANK, MASTER_ADDR, MASTER_PORT, MAX_RESTARTS, HANG_TIMEOUT, CLUSTER_TIMEOUT, STOP_TIMEOUT and
    BACKGROUND; one that is empty counts as not set. Raises UsageError that names the variable.
    """

    def number(name: str, default: int, low: int, high: int) -> int:
        text = environ.get(name, "") or str(default)
        if not (text.isascii() and text.isdecimal() and len(text) < 10 and low <= int(text) <= high):
            raise UsageError(f"{name} is {text!r}, expected a whole number from {low} to {high}")
        return int(text)

    hosts = number("NODE_NUM", 1, 1, 100_000)
    restarts = number("MAX_RESTARTS", 0, 0, 1000)
    address = environ.get("MASTER_ADDR", "")
    if hosts > 1 and not address:
        raise UsageError(f"MASTER_ADDR is not set, but NODE_NUM is {hosts}; set it to the address of host NODE_RANK=0")
    port = 0
    if hosts > 1 or environ.get("MASTER_PORT"):
        port = number("MASTER_PORT", USUAL_PORT, 1024, 65535 - restarts)  # each restart takes the next one
    return Settings(
        node_num=hosts,
        node_rank=number("NODE_RANK", 0, 0, hosts - 1),
        master_addr=address or _ALONE,
        master_port=port,
        max_restarts=restarts,
        hang_timeout=number("HANG_TIMEOUT", Settings.hang_timeout, 1, _DAYS),
        cluster_timeout=number("CLUSTER_TIMEOUT", Settings.cluster_timeout, 1, _DAYS),
        stop_timeout=number("STOP_TIMEOUT", Settings.stop_timeout, 1, _DAYS),
        background=number("BACKGROUND", 0, 0, 1) == 1,
    )
