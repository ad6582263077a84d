"""What is said about a launcher's group: before waiting for it, and when it did not come together."""

import os
import signal
import socket
import subprocess
import sys

import pytest
from commands import ROOT

from src.model_utils.joining import check_meeting_point, waiting_for, why_not_joined
from src.model_utils.local_adapter import launcher_place
from src.utils.errors import UsageError

# As MindSpore 2.10 says it.
NOT_SPAWNED = (
    "Failed to initialize distributed job cluster because some processes in the cluster are not successfully spawned. "
    "You can run command: 'grep -rn -E 'ERROR|CRITICAL' -C 10' in your log directory to filter out error info. It may "
    "be one of the following reasons:\n1.Spawned worker process number is not as expected.\n2.Configured scheduler "
    "port MS_SCHED_PORT is occupied by other processes.\n"
)
LOST = (
    "The total number of timed out node is 1. Timed out node list is: [const vector]{1}, worker 1 is the first one "
    "timed out, please check its log.\n"
)
CAME = (
    "[WARNING] DISTRIBUTED(1,7ff9,python):2026-11-28-21:40:15.449.615 [mindspore/ccsrc/meta_server_node.cc:254] "
    "ProcessRegister] The new node: {0}(role: MS_WORKER), rank id: {0}, device id: 4294967295, hostname: {1}, "
    "ip: {2} is registered successfully. Currently registered node number: 1, expected node number: 3\n"
)


@pytest.fixture
def job(monkeypatch):
    """The environment of a job of three ranks."""
    for name in ("RANK_TABLE_FILE", "RANK_ID", "RANK_SIZE", "DEVICE_ID", "DENSENET_STATUS_DIR", "DENSENET_CORES"):
        monkeypatch.delenv(name, raising=False)

    def set_up(role: str = "MS_WORKER", host: str = "127.0.0.1", port: int | str = 8118):
        names = {"MS_ROLE": role, "MS_WORKER_NUM": "3", "MS_SCHED_HOST": host, "MS_SCHED_PORT": str(port)}
        for name, value in (names | {"MS_TOPO_TIMEOUT": "15"}).items():
            monkeypatch.setenv(name, value)
        return launcher_place()

    return set_up


def test_for_what_a_process_waits(job, monkeypatch):
    assert waiting_for(job()) == (
        "waiting for up to 15 s for 3 ranks and their scheduler to meet at 127.0.0.1:8118, as MS_ROLE=MS_WORKER says; "
        "to run alone: --is_distributed 0, or unset MS_ROLE"
    )
    monkeypatch.delenv("MS_ROLE")
    monkeypatch.setenv("RANK_TABLE_FILE", "/a/table.json")
    assert waiting_for(launcher_place()) == (
        "waiting for the 3 ranks of the table /a/table.json, as RANK_TABLE_FILE says; "
        "to run alone: --is_distributed 0, or unset RANK_TABLE_FILE"
    )


def test_the_scheduler_names_who_is_missing(job, tmp_path):
    log = tmp_path / "scheduler.log"
    log.write_text("x\n" + CAME.format(0, "node-a", "10.0.0.1") + "y\n" + CAME.format(2, "node-b", "10.0.0.2"))
    assert why_not_joined(job("MS_SCHED", "10.0.0.1"), NOT_SPAWNED, log) == (
        "rank 1 did not come to the scheduler at 10.0.0.1:8118 within 15 s; rank 0 came (node-a, 10.0.0.1); rank 2 "
        "came (node-b, 10.0.0.2); start the job on every host, with the same address and port, and open that port "
        "between them"
    )
    log.write_text("")
    sentence = why_not_joined(job("MS_SCHED", "10.0.0.1"), NOT_SPAWNED, log)
    assert sentence.startswith(
        "ranks 0, 1, 2 did not come to the scheduler at 10.0.0.1:8118 within 15 s; start the job"
    )


def test_a_rank_that_waited_is_not_blamed_and_says_what_it_found(job):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        there = why_not_joined(job(port=port), NOT_SPAWNED)
    gone = why_not_joined(job(port=port), NOT_SPAWNED)
    assert there.startswith(
        f"not all of 3 ranks and the scheduler came to 127.0.0.1:{port} within 15 s, where the scheduler answers; "
    )
    assert "where nothing answers now (Connection refused); this rank did; start the job on every host" in gone
    assert "MS_SCHED_HOST and MS_SCHED_PORT name no scheduler" in why_not_joined(job(port="x"), NOT_SPAWNED)


def test_other_errors(job):
    assert why_not_joined(job("MS_SCHED"), LOST) == (
        "the job has lost rank 1, which ended before its work was done; see what its log says"
    )
    assert why_not_joined(job(), "A bad thing.\nC++ Call Stack") == "cannot join the launcher's group: A bad thing."


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "224.0.0.1"])  # noqa: S104
def test_a_scheduler_that_nobody_can_connect_to_is_refused(job, host):
    job(host=host)
    with pytest.raises(
        UsageError, match=f"the launcher set MS_SCHED_HOST={host} for 3 ranks to meet at, which is the "
    ):
        check_meeting_point()
    job(host="no such host.invalid")
    with pytest.raises(UsageError, match="which is not known here"):
        check_meeting_point()
    job(host="localhost")
    check_meeting_point()


@pytest.mark.slow
def test_left_variables_are_said_before_the_wait_and_ctrl_c_ends_it(tmp_path):
    """MindSpore keeps Python's threads from running while it waits."""
    left = {"MS_ROLE": "MS_WORKER", "MS_WORKER_NUM": "8", "MS_SCHED_HOST": "127.0.0.1", "MS_SCHED_PORT": "18999"}
    command = [sys.executable, ROOT / "train.py", "--net", "densenet100", "--dataset", "digits"]
    process = subprocess.Popen(
        [*command, "--save_ckpt_path", tmp_path], env=os.environ | left, stdout=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline()
        assert "waiting for 8 ranks and their scheduler to meet at 127.0.0.1:18999, as MS_ROLE=MS_WORKER says" in line
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(3)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == -signal.SIGINT
    finally:
        process.kill()
        process.communicate()
    assert list(tmp_path.iterdir()) == []
