"""scripts/benchmark.py as its users call it, with tiny networks; its processes; what it refuses."""

import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import ROOT, only
from launch.jobs import wait_for
from PIL import Image

from scripts.benchmark import main
from scripts.benchmarks import worker
from scripts.benchmarks.process import FailedError, Measurement, MissingError, Process, Setting, make_room
from scripts.benchmarks.tasks import task_named, variant_named
from src.launch.processes import state_and_parent
from src.utils.errors import UsageError, run


def process_of(task: str, variant: str, folder) -> Process:
    found = task_named(task, quick=True)
    setting = Setting(rounds=1, seconds=0.01, threads=1, quick=True, folder=folder, data=folder)
    return Process(Measurement(found, variant_named(found, variant)), setting)


@pytest.fixture
def ours_forked(forked, monkeypatch):
    """The workers of our own networks need not import MindSpore, each for seconds."""

    def start(command, *, env, stderr, **options):
        task, variant, *_ = words = command[3:]
        if variant_named(task_named(task, quick=True), variant).module == "ours":
            return forked.talk("scripts/benchmarks/worker", words, env, stderr.name)
        return subprocess.Popen(command, env=env, stderr=stderr, **options)

    stand_in = SimpleNamespace(**{**vars(subprocess), "Popen": start})
    monkeypatch.setattr("scripts.benchmarks.process.subprocess", stand_in)


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.usefixtures("ours_forked")
def test_quick_run_with_what_is_installed(tmp_path, capfd):
    words = "densenet100-training,densenet121-inference-32,ours,one-core,torch-eager,torch-bf16,onnxruntime"
    folder = main(["--quick", "--only", words, "--output", str(tmp_path / "a folder")])

    assert only(tmp_path / "a folder") == folder
    networks = ["ours-plain", "torch-eager", "torch-bf16"]
    rows = list(csv.DictReader((folder / "benchmark.csv").open()))
    measured = {(row["task"], row["variant"]) for row in rows}
    assert measured >= {("densenet100-training", name) for name in networks}
    assert measured >= {("densenet121-inference-32", name) for name in [*networks, "onnxruntime"]}
    for row in rows:
        assert 0 < float(row["min"]) <= float(row["images_per_second"]) <= float(row["max"])
        assert float(row["ratio"]) > 0 and float(row["peak_share"]) > 0
        assert 20 < float(row["peak_memory_mb"]) < 4000
    out = capfd.readouterr().out
    text = (folder / "benchmark.md").read_text("utf-8")
    assert out.endswith(f"\n{text}\n")
    for name in ("one-core-fp32", "one-core-bf16", "ours-fp32", "ours-bf16"):  # measured, or left out with a reason
        assert re.search(rf"^\| \*\*{name}\*\* |^- {name} is left out: .+", text, re.MULTILINE)
    if ("densenet100-training", "ours-fp32") in measured:
        assert re.search(r"^\| ours-fp32 \|( +[0-9.]+% \|){6}$", text, re.MULTILINE)  # five parts and what is left
        assert "- ours-fp32 is " in text
    assert len(list(folder.glob("*.log"))) >= len(rows)
    with Image.open(folder / "benchmark.png") as chart:
        assert chart.format == "PNG"


@pytest.mark.slow
@pytest.mark.torch
def test_the_pipelines(tmp_path):
    folder = main(["--quick", "--only", "pipeline", "--output", str(tmp_path)])
    rows = list(csv.DictReader((folder / "benchmark.csv").open()))
    assert [(row["task"], row["variant"]) for row in rows] == [
        (task, variant) for task in ("pipeline-cifar", "pipeline-jpeg") for variant in ("ours", "torch-dataloader")
    ]
    assert all(float(row["images_per_second"]) > 1 for row in rows)


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize(
    "variant, task, limited",
    [
        ("ours-plain", "densenet100-inference-1", True),  # which MindSpore compiles sooner than a training step
        ("mindspore", "densenet100-inference-1", False),
        ("torch-eager", "densenet100-training", False),
    ],
)
def test_who_may_use_which_instructions(variant, task, limited, tmp_path):
    """`import src` limits oneDNN for MindSpore; what we compare with must not suffer from it."""
    command = [
        sys.executable,
        "-m",
        "scripts.benchmarks.worker",
        task,
        variant,
        "quick",
        "1",
        tmp_path,
    ]
    environment = {name: value for name, value in os.environ.items() if name != "ONEDNN_MAX_CPU_ISA"}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment | {"ONEDNN_VERBOSE": "1"},
        input="",
        capture_output=True,
        text=True,
        check=True,
    )
    (instructions,) = set(re.findall(r"onednn_verbose,v1,info,cpu,isa:(.*)", done.stderr))
    assert (instructions == "Intel AVX2") == (limited or "avx512f" not in Path("/proc/cpuinfo").read_text())
    assert done.stdout.count("\n") == 1  # ready; and nothing but answers


@pytest.mark.slow
def test_a_process_rests_between_turns_and_is_gone_after_them(tmp_path):
    process = process_of("pipeline-cifar", "ours", tmp_path)
    try:
        process.turn()
        pid = process._process.pid
        deadline = time.monotonic() + 10
        while state_and_parent(pid)[0] != "T" and time.monotonic() < deadline:
            time.sleep(0.01)
        assert state_and_parent(pid)[0] == "T"
        assert process.held_mb <= process.measurement.peak_mb
        process.turn()
        assert len(process.measurement.rates) == 2

        os.kill(pid, signal.SIGKILL)
        with pytest.raises(FailedError, match=r"ended with status -9; see .*pipeline-cifar ours.log"):
            process.turn()
        assert not process.is_running
        process.turn()  # a new one
        assert len(process.measurement.rates) == 3
        pid = process._process.pid
    finally:
        process.stop()
    assert state_and_parent(pid) == ("", 0)


def test_a_missing_library_is_said(tmp_path, monkeypatch):
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('no onnxruntime here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    process = process_of("densenet100-inference-1", "onnxruntime", tmp_path)
    with pytest.raises(MissingError, match=r"^no onnxruntime here$"):
        process.turn()
    assert not process.is_running
    assert "ImportError" in process.log.read_text()


def computing_children() -> list[int]:
    """Of this process; the kernel may leave some out of a list that it makes while others come and go (proc(5))."""
    children = [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    return [pid for pid in children if Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b"while True: pass\0")]


def test_busy_processes_are_of_this_session_and_gone_afterwards():
    with worker.busy_processes(2):
        computing = wait_for(lambda: found if len(found := computing_children()) == 2 else None, 10)
        assert [os.getsid(pid) for pid in computing] == [os.getsid(0)] * 2
    assert [state_and_parent(pid) for pid in computing] == [("", 0)] * 2


def resting(held_mb: float, peak_mb: float) -> SimpleNamespace:
    """What `make_room` looks at, without a process."""
    found = SimpleNamespace(held_mb=held_mb, is_running=held_mb > 0, measurement=SimpleNamespace(peak_mb=peak_mb))

    def stop():
        found.held_mb, found.is_running = 0.0, False

    found.stop = stop
    return found


@pytest.mark.parametrize(
    "free, left_running",
    [
        (2000, [True, True]),  # 1.25 x 1600, the largest so far
        (1999, [True, False]),  # the one that holds most goes first
        (100, [False, False]),
    ],
)
def test_memory_for_one_that_has_not_run(free, left_running):
    small, large, new = resting(600, 1000), resting(900, 1600), resting(0, 0)
    processes = [small, large, new]
    make_room(new, processes, lambda: free + (600 - small.held_mb) + (900 - large.held_mb))
    assert [small.is_running, large.is_running] == left_running


def test_memory_for_one_that_is_known():
    small, large = resting(600, 1000), resting(900, 1600)
    make_room(small, [small, large], lambda: 650)  # 1.25 x 1000 - 600 that it holds
    assert large.is_running
    make_room(small, [small, large], lambda: 649)
    assert not large.is_running and small.is_running


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--only", "resnet50"], "'resnet50', which names nothing"),
        (["--rounds", "0"], "--rounds is 0, expected 1 to 1000"),
        (["--rounds", "two"], "invalid int value: 'two'"),
        (["--seconds", "0"], "--seconds is 0.0, expected a number above 0"),
        (["--seconds", "nan"], "--seconds is nan"),
        (["everything"], "unrecognized arguments: everything"),
    ],
)
def test_bad_usage(arguments, message, tmp_path, capsys):
    assert run(main, [*arguments, "--output", str(tmp_path / "none")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
    with pytest.raises(UsageError):
        main(arguments)


def test_an_output_that_is_no_folder(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    assert run(main, ["--quick", "--only", "pipeline", "--output", str(tmp_path / "file")]) == 1
    assert "no folder can be made in" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(("patience", "calls"), [(1000.0, worker.WARM_UP), (0.0, 1)])
def test_what_is_slow_warms_up_no_longer_than_it_needs(patience, calls, monkeypatch):
    monkeypatch.setattr(worker, "PATIENCE", patience)
    called = []
    worker.warm_up(lambda: called.append(1) or 0.0)
    assert len(called) == calls
