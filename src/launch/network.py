"""The address and the port at which the ranks meet."""

import socket

from src.utils.addresses import why_unreachable
from src.utils.errors import ReportedError, UsageError


def check_meeting_point(address: str, port: int, *, is_master: bool, several_hosts: bool = False) -> None:
    """`address` must be this host's own on the master and nowhere else; there `port`, unless 0, must be free.

    It must be one that others can connect to, from other hosts too when there are several. Raises UsageError for the
    first, ReportedError for the second.
    """
    try:
        family, _, _, _, found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no name of a host"
        raise UsageError(f"MASTER_ADDR {address!r} is not known here ({reason}); give an IP address") from error
    if problem := why_unreachable(found[0], from_elsewhere=several_hosts):
        raise UsageError(f"MASTER_ADDR {address} is {problem}; give the address by which the other ranks know host 0")
    local = _can_bind(family, (found[0], 0, *found[2:]))
    if is_master and not local:
        raise UsageError(
            f"MASTER_ADDR {address} is not an address of this host, whose NODE_RANK is 0; "
            "give an address of this host, or this host another NODE_RANK"
        )
    if local and not is_master:
        raise UsageError(
            f"MASTER_ADDR {address} is an address of this host, whose NODE_RANK is not 0; "
            "give the address of host NODE_RANK=0, as that host is seen from the others"
        )
    if is_master and not _can_bind(family, found):
        raise ReportedError(
            f"port {port} of {address} is in use; set MASTER_PORT to another one on all hosts (python -m src.doctor "
            "looks at the usual one)"
        )


def free_port(address: str) -> int:
    """A port of this host's own `address` that nobody uses at this moment."""
    family, _, _, _, found = socket.getaddrinfo(address, 0, type=socket.SOCK_STREAM)[0]
    with socket.socket(family) as free:
        free.bind(found)
        return free.getsockname()[1]


def can_listen(port: int) -> bool:
    """Whether this host alone could take connections at `port`, 0: at any."""
    return _can_bind(socket.AF_INET, ("127.0.0.1", port))


def _can_bind(family: int, address: tuple) -> bool:
    with socket.socket(family) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of an earlier job may still linger
        try:
            tried.bind(address)
        except OSError:
            return False
        return True
