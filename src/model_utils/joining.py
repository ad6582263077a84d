"""What is said about joining a launcher's group: for what a process waits, and why it waited in vain."""

import os
import re
import socket
from pathlib import Path

from src.model_utils.local_adapter import Place
from src.utils.addresses import why_unreachable
from src.utils.errors import UsageError
from src.utils.scheduler_log import ranks_that_came

THIS_RANK_CAME = "this rank did"  # says one that has waited for others in vain
_SHOWN = 8  # ranks
_PROBE = 3  # seconds


def check_meeting_point() -> None:
    """Raise UsageError when the environment names a scheduler that nobody can connect to, for which MindSpore waits."""
    host, workers = os.environ.get("MS_SCHED_HOST", ""), os.environ.get("MS_WORKER_NUM", "1")
    try:
        address = socket.getaddrinfo(host, None)[0][4][0]
    except OSError as error:
        if not host:
            return  # of a rank table; what is missing else MindSpore says at once
        raise UsageError(
            f"the launcher set MS_SCHED_HOST={host!r}, which is not known here ({error.strerror}); give an IP address"
        ) from error
    if problem := why_unreachable(address, from_elsewhere=False):
        raise UsageError(
            f"the launcher set MS_SCHED_HOST={host} for {workers} ranks to meet at, which is {problem}; "
            "give an address of the scheduler's host"
        )


def waiting_for(place: Place) -> str:
    """For what this process waits now, and how to do without: a cluster manager may have left its variables."""
    role, table = os.environ.get("MS_ROLE"), os.environ.get("RANK_TABLE_FILE")
    if role:
        timeout = os.environ.get("MS_TOPO_TIMEOUT", "")
        limit = f"for up to {timeout} s " if timeout.isdecimal() else ""
        who, name = f"{place.world_size} ranks and their scheduler to meet at {_meeting_point()}", "MS_ROLE"
        return f"waiting {limit}for {who}, as MS_ROLE={role} says; to run alone: --is_distributed 0, or unset {name}"
    return (
        f"waiting for the {place.world_size} ranks of the table {table}, as RANK_TABLE_FILE says; "
        "to run alone: --is_distributed 0, or unset RANK_TABLE_FILE"
    )


def why_not_joined(place: Place, message: str, scheduler_log: Path = Path("/proc/self/fd/1")) -> str:
    """One sentence for the error `message` of MindSpore, whose own advice is general and takes many lines.

    scheduler_log: of a process that is the scheduler; msrun has its standard output lead there.
    """
    first = message.partition("\n")[0].strip()
    if lost := re.search(r"Timed out node list is: \[[^]]*\]\{([\d, ]+)\}", message):
        return f"the job has lost rank {lost[1].strip()}, which ended before its work was done; see what its log says"
    if "not successfully spawned" not in first:
        return f"cannot join the launcher's group: {first}"
    ranks, point = place.world_size, _meeting_point()
    seconds = os.environ.get("MS_TOPO_TIMEOUT", "")
    within = f" within {seconds} s" if seconds.isdecimal() else ""
    remedy = "start the job on every host, with the same address and port, and open that port between them"
    if os.environ.get("MS_ROLE") == "MS_SCHED":
        came = ranks_that_came(scheduler_log)
        missing = [str(rank) for rank in range(ranks) if rank not in came]
        there = "".join(f"; rank {rank} came ({host})" for rank, host in sorted(came.items())[:_SHOWN])
        absent = f"{'rank' if len(missing) == 1 else 'ranks'} {', '.join(missing[:_SHOWN])}"
        absent += f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        known = f"{absent} did not come to the scheduler at {point}{within}" if missing else f"not all came to {point}"
        return f"{known}{there}; {remedy}"
    return (
        f"not all of {ranks} ranks and the scheduler came to {point}{within}, where {_found_there()}; "
        f"{THIS_RANK_CAME}; {remedy}"
    )


def _meeting_point() -> str:
    return f"{os.environ.get('MS_SCHED_HOST', '?')}:{os.environ.get('MS_SCHED_PORT', '?')}"


def _found_there() -> str:
    """What answers at the scheduler's address and port now."""
    try:
        address = os.environ["MS_SCHED_HOST"], int(os.environ["MS_SCHED_PORT"])
        with socket.create_connection(address, _PROBE):
            return "the scheduler answers"
    except OSError as error:
        return f"nothing answers now ({error.strerror or error})"
    except (KeyError, ValueError, OverflowError):
        return "MS_SCHED_HOST and MS_SCHED_PORT name no scheduler"
