"""train.py and eval.py with the C++ kernels, beside the plain network."""

import platform
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from commands import ROOT, TINY, only, train_tiny, weights
from forked import Started

import eval as evaluation
import train
from src.ops.build import ISA_VARIABLE, kernels
from src.utils.accuracy import Accuracy

pytestmark = pytest.mark.slow
RECIPE = ["--seed", 2, "--max_epoch", 2, "--eval_data_dir", "bundled"]
USED, NOT_USED = "the C++ kernels are used: ", "the C++ kernels are not used: "


def log_lines(run_folder: Path, *texts: str) -> list[str]:
    """The messages of the log that contain one of `texts`."""
    lines = (run_folder / "train.log").read_text().splitlines()
    return [line.split(":INFO:")[1] for line in lines if any(text in line for text in texts)]


def losses(run_folder: Path) -> np.ndarray:
    """Of each step that is logged."""
    lines = log_lines(run_folder, "lr:")
    return np.array([float(re.search(r"loss:([\d.]+)", line)[1]) for line in lines])


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """Two epochs with the kernels and two without, each evaluated.

    With the usual seed a value of this network lies so near a ReLU's zero that rounding decides about its gradient.
    """
    return {
        wanted: train_tiny(tmp_path_factory.mktemp(wanted), *RECIPE, "--cpu_kernels", wanted)
        for wanted in ("on", "off")
    }


def test_the_log_says_once_which_network_was_trained(runs):
    (used,) = log_lines(runs["on"], "kernels")
    assert used == f"{kernels().reason}; fp32, {kernels().library}"
    assert log_lines(runs["off"], "kernels") == []


def assert_close(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Two epochs of sums in another order."""
    assert list(found) == list(expected)
    for name, value in expected.items():
        limit = 1e-2 * max(np.abs(value).max(), 1e-3)
        np.testing.assert_allclose(found[name], value, rtol=0, atol=limit, err_msg=name)


def assert_same_bits(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Of every array, and the same arrays."""
    assert list(found) == list(expected)
    assert [name for name, value in expected.items() if found[name].tobytes() != value.tobytes()] == []


@pytest.mark.parametrize(("before", "after"), [("on", "off"), ("off", "on")])
def test_a_checkpoint_is_resumed_by_the_other_network(before, after, runs, tmp_path):
    checkpoint = runs[before] / "0-1_5.ckpt"
    flags = ["--resume", checkpoint, "--cpu_kernels", after]
    resumed = weights(train_tiny(tmp_path, *flags, "--max_epoch", 2) / "0-2_5.ckpt")
    undisturbed = weights(runs[before] / "0-2_5.ckpt")
    assert_close(resumed, undisturbed)
    assert any(resumed[name].tobytes() != value.tobytes() for name, value in undisturbed.items())


@pytest.mark.parametrize("resume", ["off", "on"])
def test_a_run_goes_on_as_it_began(resume, runs, tmp_path):
    """What computes is part of the recipe: without a flag the bits are those of the undisturbed run."""
    folder = train_tiny(tmp_path, "--resume", runs[resume] / "0-1_5.ckpt", "--max_epoch", 2)
    assert len(log_lines(folder, USED)) == (resume == "on")
    assert_same_bits(weights(folder / "0-2_5.ckpt"), weights(runs[resume] / "0-2_5.ckpt"))


@pytest.fixture
def start(tmp_path, forked, monkeypatch):
    """(name, *flags, environment) -> a process of train.py that saves below tmp_path / name; ended with the test."""
    processes = []

    def begin(name: str, *flags: object, **environment: str) -> Started:
        argv = [*TINY, *flags, "--save_ckpt_path", tmp_path / name]
        with monkeypatch.context() as patch:
            for variable, value in environment.items():
                patch.setenv(variable, value)
            outputs = (tmp_path / f"{name} {stream}.txt" for stream in ("stdout", "stderr"))
            processes.append(forked.start("train", argv, ROOT, *outputs))
        return processes[-1]

    yield begin
    for process in processes:
        process.send_signal(signal.SIGKILL)
        process.wait(10)


def last_error(process: Started) -> tuple[int, str]:
    """Its status and, if that is not 0, the last line of its stderr."""
    return process.wait(300), process.stderr.read_text().splitlines()[-1] if process.returncode else ""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="AVX2 is of x86")
def test_avx2_trains_alike(runs, start, tmp_path):
    assert last_error(start("avx2", *RECIPE, **{ISA_VARIABLE: "avx2"})) == (0, "")
    folder = only(tmp_path / "avx2")
    (used,) = log_lines(folder, USED)
    assert used.startswith(f"{USED}avx2, ")
    assert_close(weights(folder / "0-2_5.ckpt"), weights(runs["on"] / "0-2_5.ckpt"))


def test_two_runs_at_once_end_with_the_same_bits(runs, start, tmp_path):
    """They share the cores, and neither waits for the other."""
    processes = [start(name, *RECIPE) for name in ("first", "second")]
    assert [last_error(process) for process in processes] == [(0, "")] * 2
    for name in ("first", "second"):
        assert_same_bits(weights(only(tmp_path / name) / "0-2_5.ckpt"), weights(runs["on"] / "0-2_5.ckpt"))


def evaluate(checkpoint: Path, output: Path, *flags: str) -> tuple[Accuracy, str]:
    """What eval.py counts, and its log."""
    argv = ["--ckpt_files", str(checkpoint), "--save_ckpt_path", str(output), *flags]
    (accuracy,) = evaluation.main(argv).values()
    return accuracy, (only(output) / "eval.log").read_text()


@pytest.mark.parametrize("trained", ["on", "off"])
def test_the_counts_are_the_same_with_and_without(trained, runs, tmp_path):
    with_kernels, log = evaluate(runs[trained] / "best.ckpt", tmp_path / "on")
    assert log.count(f"{kernels().reason}; fp32, ") == 1
    without, log = evaluate(runs[trained] / "best.ckpt", tmp_path / "off", "--cpu_kernels", "off")
    assert "kernels" not in log
    assert (with_kernels.counts() == without.counts()).all()


def test_without_a_compiler_the_plain_network_is_trained(start, tmp_path, monkeypatch):
    """By a new process that finds no program at all, and no library of an earlier one."""
    (tmp_path / "empty").mkdir()
    monkeypatch.delenv("CXX", raising=False)
    environment = {"PATH": str(tmp_path / "empty"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    reason = f"{NOT_USED}no C++ compiler was found; install g++, or name one in CXX"
    assert last_error(start("auto", **environment)) == (0, "")
    folder = only(tmp_path / "auto")
    slower = "the plain network is slower but gives the same results; python -m src.doctor says what is in the way"
    assert log_lines(folder, "kernels") == [f"{reason}; {slower}"]
    assert (folder / "0-1_5.ckpt").is_file()
    refusal = f"cpu_kernels is on and cpu_precision fp32, but {reason}; --cpu_kernels auto --cpu_precision fp32 does"
    found = last_error(start("on", "--cpu_kernels", "on", **environment))
    assert found == (1, f"error: {refusal} without them")


@pytest.fixture(scope="module")
def two_hundred_steps(tmp_path_factory):
    """flags -> the losses of 198 steps; they fall from 2.35 to 1.75, too slowly for float32's errors to grow much."""
    steps = ["--augmentation", "none", "--lr", 0.01, "--per_batch_size", 64, "--max_epoch", 9, "--log_interval", 1]
    return lambda *flags: losses(train_tiny(tmp_path_factory.mktemp("steps"), *steps, *flags))


def test_two_hundred_steps_track_the_plain_network(two_hundred_steps):
    """Measured: the same three decimals for 100 steps, then up to 0.003 apart; 0.004 in bfloat16."""
    plain = two_hundred_steps("--cpu_kernels", "off")
    assert len(plain) == 9 * 21  # an epoch's last step has another line
    assert plain[0] > 2.3 and plain[-1] < 1.8
    apart = np.abs(two_hundred_steps("--cpu_kernels", "on") - plain)
    assert apart[:50].max() < 0.0015 and apart.max() < 0.015
    if kernels().has_bf16:
        assert np.abs(two_hundred_steps("--cpu_precision", "bf16") - plain).max() < 0.03


def test_a_resumed_run_without_the_kernels_that_it_began_with_says_so(trained_run, tmp_path):
    run = shutil.copytree(trained_run, tmp_path / trained_run.name)
    train.main(["--resume", str(run), "--max_epoch", "3", "--cpu_kernels", "off"])
    (warning,) = [line for line in (run / "train.log").read_text().splitlines() if ":WARNING:this run was" in line]
    assert re.search(
        r"trained with the C\+\+ kernels for \w+ and goes on with the plain network, which is slower: ", warning
    )
