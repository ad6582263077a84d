"""Ranks that end when one of them has died, and leave slow ones in peace: real processes without MindSpore."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import ROOT

from src.model_utils import peers

RANK = """
import json, os, sys, time
from pathlib import Path
from src.model_utils import peers
from src.utils.ending import last_act
from src.utils.errors import ReportedError, StopError, run

folder, rank = Path(sys.argv[1]), int(sys.argv[2])
peers.GRACE = 1

def from_master(make):
    meeting = folder / "meeting"
    if rank == 0:
        (folder / "part").write_text(make())
        (folder / "part").rename(meeting)
    while not meeting.exists():
        time.sleep(0.02)
    return meeting.read_text()

def main(argv):
    peers.watch_peers(rank, from_master)
    print("watching", flush=True)
    with last_act(lambda: (folder / f"last act of {rank}").touch()):
        exec(sys.stdin.readline())

sys.exit(run(main))
"""


class Rank:
    def __init__(self, folder: Path, number: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", RANK, folder, str(number)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def do(self, line: str) -> None:
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def ended(self) -> tuple[int, str]:
        """Its exit status and last line on stderr, when it ends without being told to."""
        self.process.wait(timeout=20)
        return self.process.returncode, (self.process.stderr.read().splitlines() or [""])[-1]


@pytest.fixture
def ranks(tmp_path):
    started = [Rank(tmp_path, number) for number in range(3)]
    for rank in started:
        assert rank.process.stdout.readline() == "watching\n"
    yield started
    for rank in started:
        rank.process.kill()
        rank.process.communicate()


WAIT = "time.sleep(300)"
HOST = socket.gethostname()


@pytest.mark.slow
@pytest.mark.parametrize(
    "dead, how",
    [
        (0, "kill"),
        (1, "kill"),
        (1, "raise ReportedError('no disk')"),
        (0, "raise ZeroDivisionError"),
        (1, "os._exit(0)"),
    ],
)
def test_the_others_end_when_one_has_died_and_say_which(ranks, dead, how, tmp_path):
    for number, rank in enumerate(ranks):
        if number != dead:
            rank.do(WAIT)
    if how == "kill":
        ranks[dead].process.kill()
    else:
        ranks[dead].do(how)
    name = "rank 0" if dead == 0 else f"rank 1 on {HOST}"
    for number, rank in enumerate(ranks):
        if number != dead:
            assert rank.ended() == (1, f"error: {name} has ended before its work was done; see what its log says")
            assert (tmp_path / f"last act of {number}").exists()


@pytest.mark.slow
def test_one_that_has_done_its_work_is_not_waited_for(ranks):
    """Whether it ended well or the ranks were stopped together; rank 0 may be the first to end or the last."""
    for number, line in ((1, "pass"), (0, "raise StopError(15, 'stopped')"), (2, "time.sleep(3)")):
        ranks[number].do(line)
    assert [rank.ended()[0] for rank in ranks] == [143, 0, 0]


@pytest.mark.slow
def test_a_rank_that_is_stopped_or_busy_is_left_in_peace(ranks):
    for rank in ranks:
        rank.do(WAIT)
    ranks[1].process.send_signal(signal.SIGSTOP)
    time.sleep(4)  # four times the grace
    assert [rank.process.poll() for rank in ranks] == [None, None, None]
    ranks[1].process.kill()
    assert ranks[0].ended()[0] == ranks[2].ended()[0] == 1


def test_a_rank_that_fails_by_itself_in_the_meantime_says_its_own_error(ranks):
    ranks[0].do("time.sleep(300)")
    ranks[1].do("raise ReportedError('the disk is full')")
    ranks[2].do("time.sleep(0.4); raise ReportedError('the disk is full too')")
    assert ranks[2].ended() == (1, "error: the disk is full too")


@pytest.mark.slow
def test_strangers_are_neither_ranks_nor_a_nuisance(ranks, tmp_path):
    address, port, token = json.loads((tmp_path / "meeting").read_text())
    assert address != "0.0.0.0"  # noqa: S104
    for words in (b"", b"GET / HTTP/1.0\r\n\r\n", b"x" * 100_000, b"\xff\n", f"{token[:-1]} 1 x\n".encode()):
        with socket.create_connection((address, port)) as stranger:
            stranger.sendall(words)
            with contextlib.suppress(OSError):  # it may have been shown out already
                stranger.shutdown(socket.SHUT_WR)
    silent = [socket.create_connection((address, port)) for _ in range(50)]
    for rank in ranks:
        rank.do(WAIT)
    time.sleep(2)
    assert [rank.process.poll() for rank in ranks] == [None, None, None]
    ranks[2].process.kill()
    assert ranks[1].ended()[1].startswith(f"error: rank 2 on {HOST} ")
    for one in silent:
        one.close()


def test_a_rank_that_cannot_reach_the_first_says_so_and_goes_on(tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        (tmp_path / "meeting").write_text(json.dumps(["127.0.0.1", closed.getsockname()[1], "token"]))
        os.environ["MS_CPU_COMM_OP_TIMEOUT"] = "1800"
        rank = Rank(tmp_path, 1)
        rank.do("print('its work')")
        output, _ = rank.process.communicate(timeout=20)
    assert rank.process.returncode == 0
    assert "WARNING:rank 0 cannot be reached at 127.0.0.1:" in output and "its work" in output
    assert "will notice only when MindSpore's collective operations give up, after 1800 s" in output


def test_a_host_that_has_gone_is_given_up_within_half_a_minute():
    with socket.socket() as connection:
        peers._keep_alive(connection)
        idle, interval, count = (
            connection.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert idle + interval * count <= 30
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 30_000


def test_ranks_that_fail_alike_are_not_said_to_wait_for_each_other(ranks):
    for rank in ranks:
        rank.do("raise ReportedError('no disk')")
    for rank in ranks:
        assert rank.ended() == (1, "error: no disk")
        assert "has ended" not in rank.process.stdout.read()
