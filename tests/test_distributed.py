"""Two ranks on one machine, started by msrun as a user would."""

import csv
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import HELD_OUT_DIGITS, ROOT, TINY, only, weights

import eval as evaluation

pytestmark = pytest.mark.slow


def msrun(logs: Path, *command: object, ranks: int = 2) -> list[str]:
    """Run `command` on some ranks; return what each of them printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    scripts = Path(sys.executable).parent
    path = f"{scripts}{os.pathsep}{os.environ['PATH']}"  # msrun starts the first `python` there
    launcher = [scripts / "msrun", f"--worker_num={ranks}", f"--local_worker_num={ranks}", "--join=True"]
    launcher += [f"--master_port={port}", f"--log_dir={logs}"]
    argv = [*launcher, *map(str, command)]
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}
    subprocess.run(argv, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=200)
    return [(logs / f"worker_{rank}.log").read_text() for rank in range(ranks)]


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory) -> tuple[Path, list[str]]:
    """(run folder, output of each rank) of two epochs in which both ranks save."""
    root = tmp_path_factory.mktemp("two_ranks")
    flags = [*TINY, "--max_epoch", 2, "--eval_data_dir", "bundled", "--is_save_on_master", "false"]
    outputs = msrun(root / "logs", "train.py", *flags, "--save_ckpt_path", root / "out")
    return only(root / "out"), outputs


def test_one_folder_holds_what_both_ranks_did(two_ranks):
    run_folder, outputs = two_ranks
    assert "joined the launcher's group as rank 1 of 2" in (run_folder / "train_rank1.log").read_text()
    names = sorted(path.name for path in run_folder.glob("*.ckpt"))
    assert names == ["0-1_2.ckpt", "0-2_2.ckpt", "1-1_2.ckpt", "1-2_2.ckpt", "best.ckpt"]
    assert outputs[0].count(f"tot={HELD_OUT_DIGITS},") == 2  # once an epoch, by the master only
    assert f"tot={HELD_OUT_DIGITS}," not in outputs[1]
    assert "1442 images of digits, 2 steps an epoch" in outputs[0]  # 2 ranks x 256


def test_both_ranks_have_the_same_weights(two_ranks):
    run_folder, _ = two_ranks
    left, right = weights(run_folder / "0-2_2.ckpt"), weights(run_folder / "1-2_2.ckpt")
    assert list(left) == list(right)
    for name, value in left.items():
        np.testing.assert_array_equal(value, right[name], err_msg=name)


def test_the_saved_checkpoint_reproduces_the_counts(two_ranks, tmp_path):
    """In training, by eval.py on one process, and by eval.py on two."""
    run_folder, outputs = two_ranks
    checkpoint = run_folder / "0-2_2.ckpt"
    (accuracy,) = evaluation.main(["--ckpt_files", str(checkpoint), "--save_ckpt_path", str(tmp_path)]).values()
    top1 = float(list(csv.DictReader((run_folder / "metrics.csv").open()))[-1]["top1"])
    assert accuracy.top1 == top1
    flags = ["--ckpt_files", checkpoint, "--save_ckpt_path", tmp_path / "two"]
    outputs = msrun(tmp_path / "logs", "eval.py", *flags)
    line = f"top1_correct={accuracy.top1_correct}, tot={HELD_OUT_DIGITS},"
    assert [output.count(line) for output in outputs] == [1, 0]


def test_two_ranks_resume_bit_for_bit_in_the_masters_folder(two_ranks, tmp_path):
    whole, _ = two_ranks
    half = tmp_path / "out" / "half"
    half.mkdir(parents=True)
    for name in ("config.yaml", "0-1_2.ckpt"):
        shutil.copy(whole / name, half)
    outputs = msrun(tmp_path / "logs", "train.py", "--resume", half)
    assert all("resumed from" in output for output in outputs)
    assert only(tmp_path / "out") == half
    resumed = weights(half / "0-2_2.ckpt")
    for name, value in weights(whole / "0-2_2.ckpt").items():
        np.testing.assert_array_equal(value, resumed[name], err_msg=name)
