"""What a user or a stranger's file can get wrong: one clear line on stderr, the right status, nothing lost."""

import fcntl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bad_inputs.answer_rows import PREDICT, REPORT
from bad_inputs.command_line import assert_one_line, command_line, fill_in
from bad_inputs.model_rows import EXPORT, ONNX
from bad_inputs.training_rows import CHECKPOINTS, DATA, FLAGS, MACHINE, YAML
from bad_inputs.wrong_files import write_bench
from commands import ROOT, contents

import eval as evaluation
import eval_onnx
import export
import predict
import train
from src.deploy.export import SUFFIXES
from src.utils.errors import run

MAIN = {
    "train": train.main,
    "eval": evaluation.main,
    "export": export.main,
    "eval_onnx": eval_onnx.main,
    "predict": predict.main,
}
BAD_INPUTS = FLAGS + YAML + DATA + CHECKPOINTS + MACHINE + EXPORT + ONNX + PREDICT + REPORT

# Some rows again as a user types them: these also show what MindSpore itself writes on stderr.
AS_PROCESSES = [
    row
    for row in BAD_INPUTS
    if row[1]
    in (
        "--max_epochs 3",
        "--config_path {b}/yaml/tag.yaml",
        "--device_target GPU",
        "--device_target Ascend",
        "{folder}/cut",
        "{folder}/good --eval_data_dir {b}/cut",
        "--ckpt_files {c}/flipped.ckpt",
        "--train_pretrained {c}/foreign.ckpt",
        "--save_ckpt_path /proc/nowhere",
        "--resume {b}/busy",
        "{x} --file_format AIR",
        "--ckpt_file {c}/not_finite.ckpt",
        "--ckpt_file {c}/huge.ckpt --file_format ONNX --export_fp16",
        "{quantize_cats} {b}/cut --eval_data_dir {b}/good",
        "--ckpt_files {m}/noise.onnx",
        "--ckpt_files {m}/kernel.onnx",
        "{onnx} --device_target GPU",
        "{onnx} --images {b}/cut/dog",
        "{model} --images {b}/cut/dog",
    )
]


@pytest.fixture(scope="module")
def bench(tmp_path_factory, trained_run) -> Iterator[Path]:
    """A folder full of wrong files, and a few right ones; somebody trains in its `busy`."""
    b = tmp_path_factory.mktemp("bench")
    write_bench(b, trained_run)
    with (b / "busy" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield b


def _name(row: tuple) -> str:
    return f"{row[0]} {row[1]}"


@pytest.mark.slow
@pytest.mark.parametrize("row", BAD_INPUTS, ids=_name)
def test_one_clear_line_and_nothing_lost(row, bench, tmp_path, capfd, monkeypatch):
    command, flags, status, fragment = row
    monkeypatch.chdir(tmp_path)
    before = contents(bench)
    assert run(MAIN[command], command_line(command, flags, bench, tmp_path / "out")) == status
    assert_one_line(capfd.readouterr().err, fill_in(fragment, bench))
    after = contents(bench)
    assert {path: after.get(path) for path in before} == before
    assert not (tmp_path / "hacked").exists()
    written = [Path(path).name for path in (*(after.keys() - before.keys()), *contents(tmp_path))]
    assert not [name for name in written if name.startswith(".tmp-") or any(end in name for end in SUFFIXES.values())]


@pytest.mark.slow
@pytest.mark.parametrize("row", AS_PROCESSES, ids=_name)
def test_the_same_as_a_process(row, bench, tmp_path, forked):
    command, flags, status, fragment = row
    argv = command_line(command, flags, bench, tmp_path / "out")
    done = forked.run(command, argv, tmp_path)
    assert done.returncode == status
    assert_one_line(done.stderr, fill_in(fragment, bench))
    assert "Traceback" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("command", MAIN)
def test_the_same_as_a_user_starts_it(command, tmp_path):
    """With all of its imports."""
    argv = [sys.executable, ROOT / f"{command}.py", "--max_epochs", "3"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert_one_line(done.stderr, "found unknown flag '--max_epochs' with value '3'")


def test_rows_are_many_and_different():
    assert len(set(BAD_INPUTS)) == len(BAD_INPUTS) >= 150
    assert len(AS_PROCESSES) >= 16
