"""The supervisor over small real processes in the place of msrun, the ranks and the scheduler.

It waits for all children of its process, so each test has it in a process of its own.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from commands import ROOT
from launch.jobs import MARK, processes_of, wait_for

DRIVER = """
import dataclasses, json, signal, subprocess, sys
from pathlib import Path
from src.launch import supervisor
from src.launch.processes import adopt_orphans
from src.launch.settings import Settings
from src.launch.start import Member, Start
from src.launch.worker import pid_file

folder, msrun, settings = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
supervisor.GRACE = 0.5
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored if the tests run under nohup
adopt_orphans()
signals = supervisor.Signals()
members = tuple(
    Member(rank, folder / log, pid_file(folder / "pids", rank))
    for rank, log in ((0, "worker_0.log"), (1, "worker_1.log"), (None, "scheduler.log"))
)
with (folder / "msrun.log").open("wb") as log:
    process = subprocess.Popen(["bash", "-c", msrun], cwd=folder, stdout=log, stderr=log, start_new_session=True)
ending = supervisor.watch(Start(folder, process, members), Settings(**settings), signals)
print("ENDING " + json.dumps(dataclasses.asdict(ending)))
"""
FOREVER = "sleep 300"
# As worker.py does; bash would reap those that end before it, which msrun does not. $PPID is the driver.
ADOPTED = "until read -r _ _ _ parent _ < /proc/$BASHPID/stat; [ $parent = $PPID ]; do sleep 0.02; done"
WHEN_THE_RANKS_END = "while [ ! -e done_0 ] || [ ! -e done_1 ]; do sleep 0.05; done"


@dataclass
class Done:
    status: int
    message: str
    restartable: bool
    output: str


class FakeJob:
    """Two ranks and a scheduler, each a line of bash in the job's folder, which is its working directory."""

    def __init__(self, folder, rank_0, rank_1, scheduler=WHEN_THE_RANKS_END, end_of_msrun="", **settings):
        self.folder = folder
        for name in ("pids", "status"):
            (folder / name).mkdir()
        lines = {"rank_0": (rank_0, "worker_0"), "rank_1": (rank_1, "worker_1"), "scheduler": (scheduler, "scheduler")}
        start = [
            f"(echo $BASHPID > .{name}; mv .{name} pids/{name}; {ADOPTED}; {line}) > {log}.log 2>&1 &"
            for name, (line, log) in lines.items()
            if line is not None
        ]
        self.driver = subprocess.Popen(
            [sys.executable, "-c", DRIVER, folder, "\n".join([*start, end_of_msrun]), json.dumps(settings)],
            cwd=ROOT,
            env=os.environ | {MARK: str(folder)},
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_for_all(self) -> None:
        wait_for(lambda: len([p for p in (self.folder / "pids").iterdir() if p.name[0] != "."]) == 3, 10)

    def done(self) -> Done:
        output, _ = self.driver.communicate(timeout=30)
        assert processes_of(self.folder) == []
        *shown, ending = output.splitlines()
        return Done(**json.loads(ending.removeprefix("ENDING ")), output="\n".join(shown))


@pytest.fixture
def fake_job(tmp_path):
    jobs = []

    def start(*arguments, **named) -> FakeJob:
        jobs.append(FakeJob(tmp_path, *arguments, **named))
        return jobs[-1]

    yield start
    for job in jobs:
        job.driver.kill()
        for pid in processes_of(tmp_path):
            os.kill(pid, signal.SIGKILL)


def on_this_host(text: str) -> str:
    return f"on {socket.gethostname()}, {text}"


def test_all_end_well_and_the_first_ranks_log_is_shown(fake_job):
    done = fake_job("echo hello; touch done_0", "echo not shown; sleep 0.5; touch done_1").done()
    assert done == Done(0, "", False, "hello")


def test_ends_with_the_ranks_work_and_not_with_their_processes(fake_job):
    """MindSpore takes seconds to end them, and the scheduler as long to notice."""
    done = fake_job(f"echo 0 > status/done_0; {FOREVER}", f"echo 0 > status/done_1; {FOREVER}", FOREVER).done()
    assert (done.status, done.message) == (0, "")
    assert "killed" not in done.output


def test_ranks_that_somebody_else_asked_to_stop_keep_their_exit_status(fake_job):
    done = fake_job("echo 143 > status/done_0; sleep 300", "sleep 0.3; exit 143", FOREVER).done()
    assert (done.status, done.restartable) == (143, False)


def test_one_rank_that_is_done_is_waited_for_while_another_works(fake_job):
    done = fake_job(f"echo 0 > status/done_0; {FOREVER}", "sleep 0.5; exit 3", FOREVER).done()
    assert (done.status, done.message.split("; ")[0]) == (3, on_this_host("rank 1 ended with status 3"))


@pytest.mark.parametrize("status", [0, 1])
def test_the_scheduler_is_not_waited_for_when_all_ranks_have_ended(status, fake_job):
    assert fake_job("exit 0", f"sleep 0.2; exit {status}", FOREVER).done().status == status


def test_of_several_hosts_it_is(fake_job):
    """The ranks of the others may still be at work."""
    done = fake_job("exit 0", "exit 0", "sleep 1; exit 3", node_num=2).done()
    assert (done.status, done.message.split("; ")[0]) == (3, on_this_host("the scheduler ended with status 3"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "end, status, how, restartable",
    [
        ("exit 3", 3, "ended with status 3", True),
        ("kill -KILL $BASHPID", 137, "was killed by signal 9 (SIGKILL)", True),
        ("kill -SEGV $BASHPID", 139, "was killed by signal 11 (SIGSEGV)", True),
        ("exit 2", 2, "ended with status 2", False),  # bad usage stays bad
    ],
)
def test_the_first_that_fails_ends_the_others(end, status, how, restartable, fake_job, tmp_path):
    done = fake_job(FOREVER, f"echo first; echo error: no data; {end}").done()
    message = f'rank 1 {how}; its log {tmp_path}/worker_1.log ends with "error: no data"'
    assert (done.status, done.message) == (status, on_this_host(message))
    assert done.restartable is restartable


def test_a_rank_that_crashes_after_its_work_was_done_fails_nothing(fake_job):
    crash = "touch status/done_1 done_1; sleep 0.5; kill -SEGV $BASHPID"
    done = fake_job("touch status/done_0 done_0", crash, f"{WHEN_THE_RANKS_END}; kill -ABRT $BASHPID").done()
    assert (done.status, done.message) == (0, "")
    assert "rank 1 was killed by signal 11 (SIGSEGV) after its work was done" in done.output
    assert "the scheduler was killed by signal 6 (SIGABRT) after its work was done" in done.output


def test_the_others_have_time_to_say_their_own_error(fake_job):
    done = fake_job("sleep 0.2; echo error: mine", "exit 1").done()
    assert done.output == "error: mine"


def test_a_rank_that_waited_in_vain_is_not_blamed_when_the_scheduler_says_who_did_not_come(fake_job):
    """Both give up after the same time, in any order."""
    came = "The new node: 1 (role: MS_WORKER), rank id: 0, hostname: a, ip: 10.0.0.1 is registered successfully"
    waited = "echo 'error: not all came; this rank did; open that port'; exit 1"
    said = f"echo '{came}'; sleep 0.3; echo 'error: rank 2 did not come'; exit 1"
    done = fake_job(waited, FOREVER, said, node_num=2).done()
    assert done.message.startswith(on_this_host("the scheduler ended with status 1; its log "))
    assert done.message.endswith('"error: rank 2 did not come"; no rank of NODE_RANK 1 came')
    assert done.status == 1


def test_a_rank_that_another_hosts_launcher_stopped_is_no_failure_to_try_again(fake_job):
    done = fake_job("exit 143", "sleep 1; exit 143", "sleep 1", stop_timeout=10).done()
    assert (done.status, done.restartable) == (143, False)


def test_a_failed_scheduler_names_the_rank_that_is_stopped(fake_job, tmp_path):
    done = fake_job(FOREVER, "kill -STOP $BASHPID", "sleep 0.2; exit 1").done()
    message = f"the scheduler ended with status 1; its log {tmp_path}/scheduler.log is empty; rank 1 is stopped"
    assert done.message == on_this_host(f"{message} (SIGSTOP or a debugger)")
    assert (done.status, done.restartable) == (1, True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "batches, message",
    [
        ((4, 3), "rank 1 stopped moving after 3 batches, others have begun 4"),
        ((4, 4), "rank 0, rank 1 stopped moving after 4 batches"),
        ((4, None), "rank 1 stopped moving before joining the group, others have begun 4"),
    ],
)
def test_a_job_in_which_nothing_moves_is_ended(batches, message, fake_job, tmp_path):
    lines = [f"echo {n} > status/rank_{i}; {FOREVER}" if n else FOREVER for i, n in enumerate(batches)]
    done = fake_job(*lines, hang_timeout=1).done()
    assert done.message == on_this_host(f"nothing has moved for 1 s: {message}; logs are in {tmp_path}")
    assert (done.status, done.restartable) == (1, True)


@pytest.mark.slow
def test_a_job_that_moves_slowly_is_not_ended(fake_job):
    slow = "for n in 1 2 3; do echo $n > status/rank_0; sleep 0.7; done; touch done_0"
    assert fake_job(slow, "sleep 2.5; touch done_1", hang_timeout=1).done().status == 0


def test_a_rank_that_was_never_started_is_named(fake_job, tmp_path):
    done = fake_job("exit 0", None, "exit 0").done()
    assert done.message == on_this_host(f"rank 1 could not start; msrun: its log {tmp_path}/msrun.log is empty")
    assert done.status == 1


def test_msruns_own_error_is_shown(fake_job, tmp_path):
    done = fake_job(FOREVER, None, None, end_of_msrun="echo RuntimeError: no name; exit 1").done()
    message = f'msrun ended with status 1; its log {tmp_path}/msrun.log ends with "RuntimeError: no name"'
    assert (done.status, done.message) == (1, on_this_host(message))


def test_what_a_rank_leaves_behind_is_ended_with_the_job(fake_job):
    assert fake_job("setsid sleep 300 & touch done_0", "touch done_1").done().status == 0


SAVES = "trap 'echo saved; exit 143' TERM; while :; do sleep 0.05; done"
DEAF = "trap '' TERM; while :; do sleep 0.05; done"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_lets_the_ranks_save(number, fake_job):
    job = fake_job(SAVES, SAVES.replace("exit 143", f"echo 143 > status/done_1; {FOREVER}"), FOREVER)
    job.wait_for_all()
    job.driver.send_signal(number)
    done = job.done()
    name = signal.Signals(number).name
    ranks = "rank 0 ended with status 143, rank 1 ended with status 143"
    assert (done.status, done.message) == (128 + number, f"stopped by {name}: {ranks}")
    assert done.output.split("\n") == ["", f"{name}: asking the ranks to save and end", "saved"]
    assert not done.restartable


@pytest.mark.slow
def test_a_rank_that_does_not_end_is_killed_after_a_while(fake_job):
    job = fake_job(DEAF, SAVES, stop_timeout=1)
    job.wait_for_all()
    job.driver.terminate()
    done = job.done()
    assert done.status == 143
    assert "rank 0 was killed by signal 9 (SIGKILL), rank 1 ended with status 143" in done.message


def test_a_second_signal_kills_at_once(fake_job):
    job = fake_job(DEAF, DEAF, stop_timeout=1000)
    job.wait_for_all()
    job.driver.send_signal(signal.SIGINT)
    wait_for(lambda: "asking" in job.driver.stdout.readline(), 10)
    job.driver.send_signal(signal.SIGINT)
    assert job.done().status == 130


@pytest.mark.slow
def test_a_closed_output_stops_the_job_as_a_signal_does(tmp_path, fake_job):
    job = fake_job(f"echo x; {SAVES}", SAVES, FOREVER)
    job.driver.stdout.close()
    job.driver.wait(timeout=30)
    assert processes_of(tmp_path) == []
    assert "saved" in Path(tmp_path / "worker_0.log").read_text()
