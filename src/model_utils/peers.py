"""Ranks that notice each other's death, whoever started them.

MindSpore's collective operations wait for as long as the slowest rank may take to compile or to read, half an hour.
For that long a job would stand still when one of its ranks has died. So each rank holds a connection to rank 0 for its
whole life. The kernel closes it when the process ends, however it ends, and asks whether the other host is still there;
a rank that is slow, stopped or busy keeps it open and is left in peace.
"""

import atexit
import hmac
import json
import os
import secrets
import selectors
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

from src.utils.ending import do_last_acts, tell_when_done
from src.utils.logging import get_logger

GRACE = 10  # seconds in which a rank that fails for the same reason says so itself, and a checkpoint gets written
_CONNECT = 20  # seconds
_MAX_LINE = 200  # bytes of a message
# After 10 s of silence the kernel asks the other host every 5 s, and gives it up after 30 s without an answer.
_KEEPALIVE = {socket.TCP_KEEPIDLE: 10, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 4, socket.TCP_USER_TIMEOUT: 30_000}


def watch_peers(rank: int, from_master: Callable[[Callable[[], str]], str]) -> None:
    """Have this process end, with an error, `GRACE` seconds after another rank has ended before its work was done.

    from_master: the text that rank 0 makes, on every rank (see Group). A rank that cannot reach rank 0 logs that nobody
    will notice. The command says with `src.utils.ending.tell_done` that its work is done.
    """
    listener = None

    def listen() -> str:
        nonlocal listener
        try:
            listener = _listen()
        except OSError as error:
            get_logger().warning(_unwatched(f"rank 0 cannot listen on this host: {error.strerror or error}"))
            return ""
        return json.dumps([*listener.getsockname()[:2], secrets.token_hex(16)])

    text = from_master(listen)
    if not text:
        return
    address, port, token = json.loads(text)
    if listener:
        watch: _Watch = _Master(listener, token)
    else:
        try:
            connection = socket.create_connection((address, port), _CONNECT)
            connection.sendall(f"{token} {rank} {socket.gethostname()}\n".encode())
        except OSError as error:
            reason = f"rank 0 cannot be reached at {address}:{port}: {error.strerror or error}"
            get_logger().warning(_unwatched(reason))
            return
        watch = _Member(connection)
    tell_when_done(lambda status: watch.leave(status is not None))
    # An exception that nobody caught; told before MindSpore's own end of the process, which may take half a minute.
    atexit.register(lambda: watch.leave(not hasattr(sys, "last_value")))
    threading.Thread(target=watch.run, name="peers", daemon=True).start()


def _listen() -> socket.socket:
    """A listener on the address by which this host is known to the scheduler's, which the other ranks can reach too."""
    towards = os.environ.get("MS_SCHED_HOST") or "192.0.2.1"  # the address stands for any other host: nobody has it
    family, kind, _, _, place = socket.getaddrinfo(towards, 9, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as probe:
        try:
            probe.connect(place)  # of a datagram socket: nothing is sent, the kernel chooses the way
            address = probe.getsockname()[0]
        except OSError:  # this host has no network: all ranks are on it
            family, address = socket.AF_INET, "127.0.0.1"
    return socket.create_server((address, 0), family=family, backlog=1024)


def _unwatched(reason: str) -> str:
    return (
        f"{reason}; when a rank dies, the others will notice only when MindSpore's collective operations give up, "
        f"after {os.environ['MS_CPU_COMM_OP_TIMEOUT']} s on CPUs; open the hosts' ports to each other"
    )


class _Watch:
    """What rank 0 and the others have in common: saying that they leave, and ending when somebody was lost."""

    def __init__(self) -> None:
        self.left = threading.Event()

    def run(self) -> None:
        """Watch until this process ends."""
        raise NotImplementedError

    def say(self, line: str) -> None:
        """Send a line to whom this rank is connected with."""
        raise NotImplementedError

    def leave(self, done: bool) -> None:
        """Tell the others that this rank ends: its work is done, or it has failed."""
        if not self.left.is_set():
            self.left.set()
            self.say("done" if done else "failed")

    def lost(self, who: str) -> None:
        """End this process soon, unless it ends by itself, as when all ranks fail alike."""
        if self.left.wait(GRACE):
            return
        get_logger().error("%s has ended before its work was done: this rank, which would wait for it, ends too", who)
        with suppress(Exception):  # of whatever kind: nothing is to keep this process alive
            do_last_acts()
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            print(
                f"error: {who} has ended before its work was done; see what its log says", file=sys.stderr, flush=True
            )
        os._exit(1)


class _Member(_Watch):
    """Any rank but 0, connected to rank 0."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        _keep_alive(connection)
        connection.settimeout(None)
        self.connection = connection

    def run(self) -> None:
        rest = b""
        while True:
            try:
                received = self.connection.recv(4096)
            except OSError:
                received = b""
            *lines, rest = (rest + received).split(b"\n")
            for line in lines:
                word, _, who = line.decode(errors="replace").partition(" ")
                if word == "done":
                    return
                self.lost(who if word == "lost" else "rank 0")
                return
            if not received:
                self.lost("rank 0")
                return

    def say(self, line: str) -> None:
        with suppress(OSError):
            self.connection.sendall(f"{line}\n".encode())


class _Master(_Watch):
    """Rank 0, to which the others connect; what it learns of one it tells to all."""

    def __init__(self, listener: socket.socket, token: str) -> None:
        super().__init__()
        self.listener, self.token = listener, token.encode()
        self.names: dict[socket.socket, str] = {}  # who is connected
        self.unread: dict[socket.socket, bytes] = {}
        self.selector = selectors.DefaultSelector()

    def run(self) -> None:
        self.selector.register(self.listener, selectors.EVENT_READ)
        while True:
            for key, _ in self.selector.select():
                if key.fileobj is self.listener:
                    self._accept()
                elif lost := self._read(key.fileobj):
                    self.say(f"lost {lost}")
                    self.lost(lost)
                    return

    def _accept(self) -> None:
        with suppress(OSError):
            connection, _ = self.listener.accept()
            _keep_alive(connection)
            connection.setblocking(False)
            self.unread[connection] = b""
            self.selector.register(connection, selectors.EVENT_READ)

    def _read(self, connection: socket.socket) -> str:
        """Take what has come; return who was lost with it, if anybody."""
        try:
            received = connection.recv(4096)
        except BlockingIOError:
            return ""
        except OSError:
            received = b""
        *lines, rest = (self.unread[connection] + received).split(b"\n")
        self.unread[connection] = rest
        for line in lines:
            if connection not in self.names:
                if not self._greet(connection, line):
                    return self._drop(connection)
            elif line == b"done":
                del self.names[connection]
            elif line == b"failed":
                return self.names[connection]
        return "" if received and len(rest) < _MAX_LINE else self._drop(connection)

    def _drop(self, connection: socket.socket) -> str:
        """Close it; return who was at its other end, if anybody that was still needed."""
        self.selector.unregister(connection)
        connection.close()
        del self.unread[connection]
        return self.names.pop(connection, "")

    def _greet(self, connection: socket.socket, line: bytes) -> bool:
        """Whether whoever connected knows the token; then it is a rank, which gets its name."""
        token, _, name = line.partition(b" ")
        rank, _, host = name.decode(errors="replace").partition(" ")
        known = hmac.compare_digest(token, self.token) and rank.isdecimal()
        if known:
            self.names[connection] = f"rank {rank} on {host}"
        return known

    def say(self, line: str) -> None:
        for connection in list(self.names):
            with suppress(OSError):
                connection.send(f"{line}\n".encode())


def _keep_alive(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        connection.setsockopt(socket.IPPROTO_TCP, option, value)
