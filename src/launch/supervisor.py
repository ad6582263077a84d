"""Watching the processes of one start: what fails, hangs or is asked to stop ends them all, and none is left behind."""

import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from enum import Enum
from math import inf
from pathlib import Path

from src.launch.log_reader import Follower, last_words
from src.launch.processes import kill_children, state_and_parent
from src.launch.settings import Settings
from src.launch.start import Member, Start
from src.model_utils.joining import THIS_RANK_CAME
from src.utils.job_status import done_file, done_status, status_file
from src.utils.scheduler_log import ranks_that_came

GRACE = 10  # seconds for the others after one has failed: all may fail for the same reason, and say so
_POLL = 0.1  # seconds
_STOPPED = {128 + signal.SIGINT, 128 + signal.SIGTERM}  # of a rank that was asked to end and did so in order
_USAGE = 2


class Signals:
    """The signals that ask the launcher to stop, in order of arrival; those that its caller ignores are left alone."""

    def __init__(self) -> None:
        self.received: list[int] = []
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, lambda received, _: self.received.append(received))


@dataclass(frozen=True)
class Ending:
    """How a start ended. status: 0, or the exit status for it; message: why, for people; restartable: whether trying
    again may help.
    """

    status: int = 0
    message: str = ""
    restartable: bool = False


def watch(started: Start, settings: Settings, signals: Signals) -> Ending:
    """Show the first local rank's log until all processes have ended; return how. None is left behind."""
    supervisor = _Supervisor(started, settings, signals)
    try:
        supervisor.run()
    finally:
        kill_children(supervisor.reap)
    supervisor.follow(to_the_end=True)
    return supervisor.ending()


class _State(Enum):
    """What the processes of a start are about; a state is never left for an earlier one."""

    JOINING = "no rank has joined the group yet: they wait for each other, which MindSpore limits itself"
    RUNNING = "a rank has joined: from now on one that does not move keeps the others waiting"
    STOPPING = "one has failed or a signal came: the others have until the deadline to save and end"
    GIVEN_UP = "what is left is not waited for any more"
    FINISHED = "no rank has anything left to do: what MindSpore does for seconds to end the processes changes nothing"


class _Supervisor:
    def __init__(self, started: Start, settings: Settings, signals: Signals) -> None:
        self.start, self.settings, self.signals = started, settings, signals
        self.follower: Follower | None = Follower(started.members[0].log, sys.stdout.buffer)
        self.ranks = [member for member in started.members if member.rank is not None]  # of this host
        self.pids: dict[Member, int] = {}
        self.ended: dict[Member, int] = {}  # exit status, or minus the number of the signal that killed it
        self.failure = ""
        self.failure_status = 0
        self.heeded_signals = 0
        self.state, self.deadline = _State.JOINING, inf  # which is of stopping
        self.last_signs, self.last_change = None, time.monotonic()

    def run(self) -> None:
        """Return when all processes have ended, or the others have to be killed."""
        while self.reap() and self.is_waited_for():
            self.follow()
            self.heed_signals()
            self.look_for_end()
            if self.is_undisturbed():
                self.look_for_hang()
            time.sleep(_POLL)
        if self.is_undisturbed() and len(self.ended) < len(self.start.members):
            missing = next(member for member in self.start.members if member not in self.ended)
            self.fail(f"{missing} could not start; msrun: {self.words(self.start.msrun_log)}", 1)

    def is_waited_for(self) -> bool:
        """Whether a process is left that may end by itself in time."""
        is_left, in_time = len(self.ended) < len(self.start.members), time.monotonic() < self.deadline
        return is_left and in_time and self.state not in (_State.GIVEN_UP, _State.FINISHED)

    def is_undisturbed(self) -> bool:
        return self.state in (_State.JOINING, _State.RUNNING)

    def look_for_end(self) -> None:
        """Wait no longer when all ranks have ended or done their work, if there are no others on other hosts.

        MindSpore takes four seconds to end a rank, and its scheduler looks every five whether they have left.
        """
        if self.settings.node_num == 1 and self.state is not _State.GIVEN_UP and all(
            member in self.ended or done_status(self.start.status, member.rank) is not None for member in self.ranks
        ):  # fmt: skip
            self.state = _State.FINISHED

    def stop_within(self, seconds: float) -> None:
        """Wait no longer than that for what is still there."""
        self.deadline = min(self.deadline, time.monotonic() + seconds)
        if self.is_undisturbed():
            self.state = _State.STOPPING

    def reap(self) -> bool:
        """Note the children that have ended; whether there are others."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            self.note_end(pid, os.waitstatus_to_exitcode(status))

    def note_end(self, pid: int, status: int) -> None:
        if pid == self.start.msrun.pid:
            self.start.msrun.returncode = status  # Popen cannot ask for it any more
            if status != 0:
                self.fail(f"msrun {_how(status)}; {self.words(self.start.msrun_log)}", 1)
            return
        self.read_pids()
        member = next((member for member, known in self.pids.items() if known == pid), None)
        if member is None:
            missing = [member for member in self.start.members if member not in self.pids]
            if status == 0 or not missing:
                return  # an orphan that a rank left
            member = missing[0]
        if self.state is _State.FINISHED and status == -signal.SIGKILL:  # by us
            if member.rank is None:
                return
            done = done_status(self.start.status, member.rank)
            status = status if done is None else done
        self.ended[member] = status
        if status < 0 and self.was_done(member):
            print(f"{member} {_how(status)} after its work was done, while MindSpore ended the process", flush=True)
        elif status != 0:
            more = ""
            if member.rank is None:
                absent = self.absent()
                if absent and THIS_RANK_CAME in self.failure:  # it gave up a moment before, and knows less
                    self.failure = ""
                more = f"; {absent or self.behind()}"
            self.fail(f"{member} {_how(status)}; {self.words(member.log)}{more}", _exit_status(status))

    def read_pids(self) -> None:
        for member in self.start.members:
            if member not in self.pids and member.pid_file.exists():
                self.pids[member] = int(member.pid_file.read_text())

    def fail(self, message: str, status: int) -> None:
        """Note the first failure, and when to kill what is still there."""
        if self.failure or self.signals.received:
            return
        self.failure, self.failure_status = message, status
        self.stop_within(self.settings.stop_timeout if status in _STOPPED else GRACE)

    def words(self, log: Path) -> str:
        said = last_words(log)
        return f'its log {log} ends with "{said}"' if said else f"its log {log} is empty"

    def was_done(self, member: Member) -> bool:
        """Whether a rank had done its work before it ended; the scheduler's is done with that of all ranks."""
        if member.rank is None:
            return self.settings.node_num == 1 and all(map(self.was_done, self.ranks))
        return done_file(self.start.status, member.rank).exists()

    def follow(self, *, to_the_end: bool = False) -> None:
        if self.follower:
            try:
                self.follower.copy_rest() if to_the_end else self.follower.copy_new()
            except BrokenPipeError:  # the reader of our output has gone, as with a terminal that is closed
                self.follower = None
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                self.signals.received.append(signal.SIGPIPE)

    def heed_signals(self) -> None:
        """At the first signal ask the ranks to save and end, at the second give up waiting for them."""
        if len(self.signals.received) == self.heeded_signals:
            return
        self.heeded_signals = len(self.signals.received)
        self.read_pids()
        if self.heeded_signals > 1 or len(self.pids) < len(self.start.members):
            self.state = _State.GIVEN_UP
            return
        print(f"\n{signal.Signals(self.signals.received[0]).name}: asking the ranks to save and end", flush=True)
        for member, pid in self.pids.items():
            if member.rank is not None and member not in self.ended:
                os.kill(pid, signal.SIGTERM)
        self.stop_within(self.settings.stop_timeout)

    def look_for_hang(self) -> None:
        """Fail when for too long no rank has begun another batch or ended."""
        signs = {path.name: path.stat().st_mtime_ns for path in self.start.status.glob("rank_*")}
        if (signs, len(self.ended)) != self.last_signs:
            self.last_signs, self.last_change = (signs, len(self.ended)), time.monotonic()
        if signs:
            self.state = _State.RUNNING
        joining = self.settings.cluster_timeout if self.state is _State.JOINING else 0
        limit = joining + self.settings.hang_timeout
        if time.monotonic() - self.last_change > limit:
            self.fail(f"nothing has moved for {limit} s: {self.behind()}; logs are in {self.start.folder}", 1)
            self.state = _State.GIVEN_UP

    def behind(self) -> str:
        """Which ranks of this host keep the others waiting, as far as it can be seen."""
        self.read_pids()
        ranks = [member for member in self.pids if member.rank is not None and member not in self.ended]
        if stopped := [member for member in ranks if state_and_parent(self.pids[member])[0] in ("T", "t")]:
            return f"{_list(stopped)} is stopped (SIGSTOP or a debugger)"
        batches = {member: _batches(status_file(self.start.status, member.rank)) for member in ranks}
        slowest = [member for member in ranks if batches[member] == min(batches.values())]
        if not slowest:
            return "no rank of this host is left"
        fewest, most = min(batches.values()), max(batches.values())
        if most < 0:  # they wait for others, which may be to blame
            return "no rank of this host has joined the group yet"
        if fewest == most:
            return f"{_list(ranks)} stopped moving {_after(most)}"
        return f"{_list(slowest)} stopped moving {_after(fewest)}, others have begun {most}"

    def absent(self) -> str:
        """Which hosts of several have not sent a rank to this one's scheduler; empty when that is not known."""
        local = sum(member.rank is not None for member in self.start.members)
        logs = [member.log for member in self.start.members if member.rank is None]
        came = ranks_that_came(logs[0]) if logs and self.settings.node_num > 1 else {}
        missing = sorted({rank // local for rank in range(local * self.settings.node_num)} - {r // local for r in came})
        return f"no rank of NODE_RANK {', '.join(map(str, missing))} came" if came and missing else ""

    def ending(self) -> Ending:
        if self.signals.received and any(self.ended.get(member) != 0 for member in self.ranks):
            number = self.signals.received[0]
            how = ", ".join(
                f"{member} {_how(self.ended[member])}" for member in self.start.members if member in self.ended
            )
            return Ending(128 + number, f"stopped by {signal.Signals(number).name}: {how or 'nothing had begun'}")
        if not self.failure:
            return Ending()
        restartable = self.failure_status not in _STOPPED | {_USAGE}
        return Ending(self.failure_status, f"on {socket.gethostname()}, {self.failure}", restartable)


def _batches(path: Path) -> int:
    """How many batches a rank has begun, as its status file says; -1 before it has joined the group."""
    try:
        text = path.read_text().strip()
    except (OSError, ValueError):
        return -1
    return int(text) if text.isdecimal() else 0  # it is empty while it is written


def _after(batches: int) -> str:
    return f"after {batches} batches" if batches >= 0 else "before joining the group"


def _list(members: list[Member]) -> str:
    return ", ".join(map(str, members))


def _how(status: int) -> str:
    if status < 0:
        return f"was killed by signal {-status} ({signal.Signals(-status).name})"
    return f"ended with status {status}"


def _exit_status(status: int) -> int:
    return 128 - status if status < 0 else status
