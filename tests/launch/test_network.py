"""Where the ranks meet, on this host's real addresses."""

import re
import socket

import pytest

from src.launch.network import check_meeting_point, free_port
from src.utils.errors import ReportedError, UsageError

ELSEWHERE = "192.0.2.1"  # for documentation only: nobody has it


def test_a_free_port_is_accepted_and_one_in_use_is_not():
    port = free_port("127.0.0.1")
    check_meeting_point("127.0.0.1", port, is_master=True)
    with socket.socket() as server:
        server.bind(("127.0.0.1", port))
        server.listen()
        message = f"port {port} of 127.0.0.1 is in use; set MASTER_PORT to another one on all hosts"
        message += " (python -m src.doctor looks at the usual one)"
        with pytest.raises(ReportedError, match=re.escape(message)):
            check_meeting_point("127.0.0.1", port, is_master=True)
        with pytest.raises(UsageError):  # of another host nothing is asked
            check_meeting_point("127.0.0.1", port, is_master=False)


def test_any_port_is_fine_when_none_is_named():
    check_meeting_point("localhost", 0, is_master=True)


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0", "0", "::", "0.0.0.7", "::ffff:0.0.0.0", "224.0.0.1", "ff02::1", "255.255.255.255"],  # noqa: S104
)
@pytest.mark.parametrize("is_master", [True, False])
def test_an_address_that_nobody_can_connect_to_is_refused_at_once(address, is_master):
    for several in (True, False):
        with pytest.raises(
            UsageError, match=f"MASTER_ADDR {re.escape(address)} is the address of .*nobody can connect"
        ):
            check_meeting_point(address, 8118, is_master=is_master, several_hosts=several)


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "127.3.2.1"])
def test_other_hosts_cannot_come_to_this_hosts_own_address(address):
    check_meeting_point(address, 0, is_master=True)
    with pytest.raises(UsageError, match=f"MASTER_ADDR {address} is every host's own, by which the other hosts find"):
        check_meeting_point(address, 0, is_master=True, several_hosts=True)


@pytest.mark.parametrize(
    "address, is_master, message",
    [
        (ELSEWHERE, True, "MASTER_ADDR 192.0.2.1 is not an address of this host, whose NODE_RANK is 0"),
        ("127.0.0.1", False, "MASTER_ADDR 127.0.0.1 is an address of this host, whose NODE_RANK is not 0"),
        ("no such host.invalid", True, "MASTER_ADDR 'no such host.invalid' is not known here"),
    ],
)
def test_the_master_is_the_host_that_owns_the_address(address, is_master, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        check_meeting_point(address, 8118, is_master=is_master)


def test_other_hosts_accept_an_address_elsewhere():
    check_meeting_point(ELSEWHERE, 8118, is_master=False)
