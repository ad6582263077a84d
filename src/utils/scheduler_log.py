"""What MindSpore's scheduler has written about the ranks that came to it."""

import re
from pathlib import Path

_CAME = re.compile(
    rb"The new node: .*\(role: MS_WORKER\), rank id: (\d+),.* hostname: (\S*), ip: (\S*) is registered successfully"
)
_MAX_BYTES = 2**24  # of a job of thousands of ranks


def ranks_that_came(log: Path) -> dict[int, str]:
    """`rank: "host, address"` for each rank that a scheduler with this log knows; empty when nothing can be read."""
    try:
        with log.open("rb") as file:
            text = file.read(_MAX_BYTES)
    except OSError:
        return {}
    return {int(rank): f"{host.decode(errors='replace')}, {ip.decode(errors='replace')}" for rank, host, ip in
            _CAME.findall(text)}  # fmt: skip
