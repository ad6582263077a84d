"""Whole jobs on this machine's CPU, in folders with spaces, started by the scripts or forked."""

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
from commands import NETWORK, only, weights, write_cifar
from launch.jobs import START, ForkedJob, Launched, processes_of, wait_for

import eval as evaluation
from src.utils.scheduler_log import ranks_that_came

HELD_OUT = 997
STEPS, EPOCHS = 3, 6
FLAGS = [
    *(*NETWORK[2:], "--block_config", "1", "--per_batch_size", "16", "--max_epoch", str(EPOCHS)),
    *("--num_parallel_workers", "1"),
]
LAST = f"0-{EPOCHS}_{STEPS}.ckpt"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("with spaces") / "my data"
    write_cifar(folder / "data_batch_1.bin", 2 * 16 * STEPS)
    write_cifar(folder / "test_batch.bin", HELD_OUT)
    return folder


@contextmanager
def launching(kind: Callable[..., Launched]) -> Iterator[Callable[..., Launched]]:
    """Starts jobs, of which nothing is left afterwards."""
    jobs = []

    def start(*arguments, **named) -> Launched:
        jobs.append(kind(*arguments, **named))
        return jobs[-1]

    yield start
    for job in jobs:
        job.process.send_signal(signal.SIGKILL)
        wait_for(lambda job=job: processes_of(job.folder) == [], 10)


@pytest.fixture
def launch():
    """Starts jobs as a user does."""
    with launching(Launched) as start:
        yield start


@pytest.fixture
def fork(forked):
    """Starts jobs whose processes are forked."""
    with launching(partial(ForkedJob, forked)) as start:
        yield start


def train(data: Path, *flags: object, ranks: int = 2) -> list[object]:
    return ["run_distribute_train_cpu.sh", ranks, "densenet100", "cifar10", data, *flags, *FLAGS]


@pytest.fixture(scope="module")
def trained(data) -> Path:
    """The working folder of a job of two ranks that was started with BACKGROUND=1 and has ended."""
    folder = data.parent / "my runs"
    script, *arguments = train(data)
    job = Launched(script, *arguments, folder=folder, BACKGROUND=1)
    output, errors = job.process.communicate(timeout=60)
    assert (job.process.returncode, errors) == (0, "")
    found = re.fullmatch(r"running in the background as process (\d+), writing to (.*)\nstop it: kill \1\n", output)
    assert found, output
    assert Path(found[2]).parent == folder
    wait_for(lambda: int(found[1]) not in processes_of(folder), START + 60)
    assert processes_of(folder) == []
    return folder


def assert_same_weights(left: Path, right: Path) -> None:
    left, right = weights(left), weights(right)
    assert list(left) == list(right)
    for name, value in left.items():
        np.testing.assert_array_equal(value, right[name], err_msg=name)


@pytest.mark.slow
def test_each_rank_and_each_start_has_its_folder(trained):
    assert sorted(path.name for path in trained.iterdir() if path.is_dir()) == ["logs", "train0", "train1"]
    run = only(trained / "train0")
    assert (run / LAST).is_file()
    assert list(only(trained / "train1").glob("*.ckpt")) == []
    logs = only(trained / "logs")
    assert {path.name for path in logs.iterdir()} >= {"worker_0.log", "worker_1.log", "scheduler.log", "msrun.log"}
    (log,) = trained.glob("train_*.log")
    text = log.read_text()
    starting, place, *shown = text.splitlines()
    assert re.match(r"starting: .*/python\S* -c .* --join=False --worker_num=2 --local_worker_num=2 ", starting)
    assert place == f"logs are in {logs}; below is rank 0's"
    assert f"run folder {run}, device CPU; joined the launcher's group as rank 0 of 2" in shown[0]
    assert not re.search(r"^\[WARNING\]|^error", text, re.MULTILINE)
    assert (logs / "status" / "rank_1").read_text().strip() == str(STEPS * EPOCHS)


@pytest.mark.slow
def test_one_and_three_ranks_count_the_same(trained, data, fork, tmp_path):
    """Of two, tests/test_distributed.py says it."""
    checkpoint = only(trained / "train0") / LAST
    flags = ["--eval_data_dir", str(data), "--save_ckpt_path", str(tmp_path)]
    (alone,) = evaluation.main(["--ckpt_files", str(checkpoint), *flags]).values()
    job = fork(
        "run_distribute_eval_cpu.sh", 3, "densenet100", "cifar10", data, checkpoint, "--per_batch_size", 100,
        folder=trained.parent / "eval 3",
    )  # fmt: skip
    status, output, error = job.done()
    assert (status, error) == (0, "")
    line = f"top1_correct={alone.top1_correct}, tot={HELD_OUT},"
    assert output.count(line) == 1
    logs = only(job.folder / "logs").glob("worker_*.log")
    assert sum(log.read_text().count(line) for log in logs) == 1
    assert (only(job.folder / "eval") / "confusion_matrix.csv").is_file()


@pytest.mark.slow
def test_a_killed_rank_restarts_the_job_which_ends_with_the_same_weights(trained, data, tmp_path, fork):
    job = fork(*train(data), folder=tmp_path / "killed rank", MAX_RESTARTS=1)
    first = job.file("train0/*/0-1_3.ckpt").parent
    os.kill(job.pid("rank_1"), signal.SIGKILL)
    status, output, error = job.done()
    assert (status, error) == (0, "")
    assert f"restart 1 of 1, going on from {first}: on {socket.gethostname()}, rank 1 was killed by signal 9" in output
    assert f"resumed from {first}/0-" in output
    assert only(job.folder / "train0") == first
    assert_same_weights(first / LAST, only(trained / "train0") / LAST)


@pytest.mark.slow
def test_sigterm_saves_and_ends_all_ranks(data, tmp_path, fork):
    job = fork(*train(data), folder=tmp_path / "stopped")
    run = job.file("train0/*/0-1_3.ckpt").parent
    job.process.send_signal(signal.SIGTERM)
    status, output, error = job.done()
    assert status == 143
    assert error == "error: stopped by SIGTERM: rank 0 ended with status 143, rank 1 ended with status 143"
    assert "SIGTERM: asking the ranks to save and end" in output
    assert not (run / LAST).exists()
    saved = re.search(r"/(0-\d+_\d+\.ckpt)", output)[1]
    assert (run / saved).is_file()


@pytest.mark.slow
def test_a_killed_scheduler_ends_the_job(data, tmp_path, fork):
    job = fork(*train(data), folder=tmp_path / "killed scheduler")
    pid = job.pid("scheduler")
    job.pid("rank_0"), job.pid("rank_1")
    os.kill(pid, signal.SIGKILL)
    status, _, error = job.done()
    log = only(job.folder / "logs") / "scheduler.log"
    assert status == 137
    assert error.startswith(
        f"error: on {socket.gethostname()}, the scheduler was killed by signal 9 (SIGKILL); its log {log}"
    )


@pytest.mark.slow
def test_a_killed_launcher_leaves_nothing_behind(data, tmp_path, launch):
    for name in ("rank_1", None):  # once msrun has started all, and as early as can be
        job = launch(*train(data), folder=tmp_path / f"killed launcher {name}")
        job.pid(name) if name else job.file("logs/*/msrun.log")
        job.process.kill()
        job.process.wait()
        wait_for(lambda job=job: processes_of(job.folder) == [], 10)


@pytest.mark.slow
def test_a_ranks_own_error_and_exit_status_reach_the_caller(data, tmp_path, fork):
    job = fork(*train(data, "--train_pretrained", data / "test_batch.bin"), folder=tmp_path / "no weights")
    status, output, error = job.done()
    words = f"error: {data}/test_batch.bin cannot be read as a MindSpore checkpoint: "
    assert status == 1
    assert words in output
    assert re.match(
        rf'error: on \S+, rank [01] ended with status 1; its log {job.folder}/logs/.* ends with "{words}', error
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "script, arguments, settings, status, message",
    [
        ("train_cpu.sh", ["two", "densenet100", "digits", "bundled"], {"BACKGROUND": "1"}, 2, "DEVICE_NUM is 'two'"),
        ("train_cpu.sh", ["0", "densenet100", "digits", "bundled"], {}, 2, "DEVICE_NUM is '0'"),
        ("train_cpu.sh", ["2", "densenet9", "digits", "bundled"], {}, 2, "found 'densenet9'"),
        ("train_cpu.sh", ["2", "densenet100", "folder", "no data"], {}, 1, "train_data_dir {folder}/no data does not"),
        ("eval_cpu.sh", ["2", "densenet100", "digits", "bundled", "x y"], {}, 1, "ckpt_files {folder}/x y does not"),
        ("train_cpu.sh", ["2", "densenet100", "digits", "bundled"], {"NODE_NUM": "2"}, 2, "MASTER_ADDR is not set"),
        ("train.sh", ["8", "none", "densenet121", "digits", "bundled"], {}, 1, "DEVICE_NUM is 8, but this host has 0"),
        ("train.sh", ["8", "a table", "densenet121", "digits", "bundled"], {}, 2, "{folder}/a table: the rank table"),
        ("train_gpu.sh", ["2", "0", "densenet121", "digits", "bundled"], {}, 2, "VISIBLE_DEVICES names 1 devices (0)"),
        ("eval_gpu.sh", ["1", "0", "densenet121", "digits", "bundled", "x"], {}, 1, "but this host has 0 GPU devices"),
        ("eval.sh", ["1", "none", "densenet121", "digits", "bundled", "x"], {}, 1, "this host has 0 Ascend devices"),
    ],
)  # fmt: skip
def test_nothing_starts_when_something_is_wrong(script, arguments, settings, status, message, tmp_path, launch):
    folder = tmp_path / "a b"
    job = launch(f"run_distribute_{script}", *arguments, folder=folder, **settings)
    found, output, error = job.done()
    assert (found, output) == (status, "")
    assert error.startswith("error: ") and message.format(folder=folder) in error
    assert list(folder.iterdir()) == []


def test_a_port_in_use_is_said_before_anything_starts(tmp_path, launch):
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
        arguments = ["2", "densenet100", "digits", "bundled"]
        job = launch("run_distribute_train_cpu.sh", *arguments, folder=tmp_path / "a b", MASTER_PORT=port)
        message = f"error: port {port} of 127.0.0.1 is in use; set MASTER_PORT to another one on all hosts"
        message += " (python -m src.doctor looks at the usual one)"
        assert job.done() == (1, "", message)


@pytest.fixture(scope="module")
def two_hosts():
    """Two hosts, by name: network namespaces that have a cable between them."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("network namespaces need root and the command ip (package iproute2)")
    names = [f"host{os.getpid()}-{number}" for number in range(2)]
    cable = [f"v{os.getpid()}x{number}" for number in range(2)]

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    for name in names:
        ip("netns", "add", name)
    try:
        ip("link", "add", cable[0], "netns", names[0], "type", "veth", "peer", "name", cable[1], "netns", names[1])
        for number, name in enumerate(names):
            ip("-n", name, "addr", "add", f"10.77.0.{number + 1}/24", "dev", cable[number])
            ip("-n", name, "link", "set", cable[number], "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            ip("netns", "del", name)


@pytest.fixture(scope="module")
def interrupted(two_hosts, trained, data, forked, tmp_path_factory) -> Iterator[tuple[Path, list[Launched]]]:  # noqa: ARG001
    """(run folder, launchers) of a job of two hosts from when a rank of the second one was killed.

    The rank of the first one notices that after half a minute, in which the next test has its turn. Each host has one
    core, as each rank of the one-host job has: more threads would round sums differently.
    """
    root, cores = tmp_path_factory.mktemp("two hosts"), cycle(sorted(os.sched_getaffinity(0)))
    with launching(partial(ForkedJob, forked)) as fork:
        jobs = [
            fork(
                *train(data, ranks=1), folder=root / f"host {number}", namespace=host, core=core,
                NODE_NUM=2, NODE_RANK=number, MASTER_ADDR="10.77.0.1", MAX_RESTARTS=1,
            )
            for number, (host, core) in enumerate(zip(two_hosts, cores, strict=False))
        ]  # fmt: skip
        first = jobs[0].file("train0/*/0-1_3.ckpt").parent
        os.kill(jobs[1].pid("rank_1"), signal.SIGKILL)
        yield first, jobs


@pytest.mark.slow
@pytest.mark.usefixtures("interrupted")
def test_a_missing_host_is_named_and_no_rank_that_waited_is_blamed(two_hosts, data, tmp_path, fork):
    for seconds in (10, 60):  # on a busy machine a rank may not reach even its own host's scheduler sooner
        jobs = [
            fork(
                *train(data, ranks=1), folder=tmp_path / f"host {number}, {seconds} s", namespace=two_hosts[number],
                NODE_NUM=nodes, NODE_RANK=number, MASTER_ADDR="10.77.0.1", MASTER_PORT=port + seconds,
                CLUSTER_TIMEOUT=seconds,
            )
            for number, nodes, port in ((0, 3, 8218), (1, 2, 8219))
        ]  # fmt: skip
        ends = [job.done() for job in jobs]
        if ranks_that_came(only(jobs[0].folder / "logs") / "scheduler.log"):
            break
    status, output, error = ends[0]
    assert status == 1
    place = f"10.77.0.1:{8218 + seconds}"
    assert f"ranks 1, 2 did not come to the scheduler at {place} within {seconds} s; rank 0 came (" in error
    assert error.endswith('open that port between them"; no rank of NODE_RANK 1, 2 came')
    status, output, error = ends[1]
    assert (status, "Traceback" in output) == (1, False)
    place = f"10.77.0.1:{8219 + seconds}"
    assert (
        f"not all of 2 ranks and the scheduler came to {place} within {seconds} s, where nothing answers now (" in error
    )
    assert "stopped moving" not in error


@pytest.mark.slow
def test_two_hosts_train_together_and_go_on_after_a_rank_was_killed(interrupted, trained):
    """Both launchers restart by themselves."""
    first, jobs = interrupted
    for number, job in enumerate(jobs):
        status, output, error = job.done()
        assert (status, error) == (0, ""), output
        assert output.count(f"joined the launcher's group as rank {number} of 2") == 2
        assert "restart 1 of 1, " in output
        assert number > 0 or f"resumed from {first}/0-" in output
    assert_same_weights(first / LAST, only(trained / "train0") / LAST)
