"""test_device.sh on this CPU, whole; and faults of each kind that its rows have to notice."""

import json
import re
import shutil
import subprocess
import tarfile
from types import SimpleNamespace

import numpy as np
import pytest
from commands import ROOT
from numpy_of_checkpoint import logits_of_digits

from scripts.device_test import __main__ as command
from scripts.device_test import rows
from scripts.device_test.context import BUNDLED, CHECKPOINT, HELD_OUT, RECORD, Context, NotApplicableError, newest
from scripts.device_test.results import try_rows
from scripts.device_test.worker import FAILED, NOT_APPLICABLE, PASSED, attempt
from src.utils.errors import ReportedError, UsageError

RECORDED = json.loads((BUNDLED / RECORD).read_text("utf-8"))


@pytest.fixture
def context(tmp_path):
    """With a copy of the bundled files, which a test may damage."""
    shutil.copytree(BUNDLED, tmp_path / "bundled")
    (tmp_path / "made").mkdir()
    return Context("CPU", 2, tmp_path / "made", tmp_path / "bundled")


def change_record(context, **changed):
    (context.bundled / RECORD).write_text(json.dumps(RECORDED | changed))


def row(name):
    return next(one for one in rows.ROWS if one.name == name)


def verdict(name, context):
    return attempt(row(name), context)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_every_row_passes_on_this_cpu_and_leaves_one_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command.main(["CPU", "2", "--seconds", "900"])
    out = capsys.readouterr().out
    table = re.findall(
        r"^\| (2 x CPU.*) \| (Linux \S+) \| (MindSpore 2\.10.*) \| (\S+) \| (\S+) \| (.*) \|$", out, re.M
    )
    verdicts = {name: found for _, _, _, name, found, _ in table}
    assert list(verdicts) == list(command.NAMES) and FAILED not in verdicts.values()
    assert {name for name, found in verdicts.items() if found == NOT_APPLICABLE} <= {"air", "bf16"}
    (file,) = tmp_path.iterdir()
    with tarfile.open(file) as archive:
        inside = {name.rpartition("/")[2] for name in archive.getnames()}
    assert inside == {"report.md", "report.json", "rows.log"} and str(file) in out


def test_the_names_are_those_of_the_rows():
    assert tuple(one.name for one in rows.ROWS) == command.NAMES


def test_the_record_is_what_numpy_computes_in_float64():
    logits, labels = logits_of_digits(BUNDLED / CHECKPOINT)
    assert np.allclose(logits[: len(RECORDED["logits"])], RECORDED["logits"], rtol=1e-7, atol=1e-7)
    right = logits.argmax(1) == labels
    assert [right.sum(), right[:60].sum(), len(right)] == [
        *(RECORDED["top1_correct"], RECORDED["top1_correct_of_60"], HELD_OUT)
    ]


# Faults. Each test plants one, or some of a kind, and the row has to fail with a sentence about it.


@pytest.mark.slow
def test_fault_a_wrong_recorded_logit_and_a_broken_kernel(context, monkeypatch):
    monkeypatch.setattr(rows, "TOLERANCE", {"O0": 1e-4})
    answered = []

    class Once(rows.PredictStep):
        """What is planted is beside the network, whose answers are computed once."""

        def logits(self, images):
            if not answered:
                answered.append(super().logits(images))
            return answered[0].copy()

    monkeypatch.setattr(rows, "PredictStep", Once)
    assert verdict("logits", context)[0] == PASSED
    wrong = [list(line) for line in RECORDED["logits"]]
    wrong[3][7] += 0.01
    change_record(context, logits=wrong)
    found, figure = verdict("logits", Context("CPU", 2, context.folder, context.bundled))
    assert found == FAILED and "of the largest logit" in figure
    wrong[3][7] = RECORDED["logits"][3][7] + 2e-3 * np.abs(RECORDED["logits"]).max()
    change_record(context, logits=wrong)
    verdicts = {
        device: verdict("logits", Context(device, 2, context.folder, context.bundled)) for device in ("CPU", "GPU")
    }
    assert [found for found, _ in verdicts.values()] == [FAILED, PASSED], verdicts  # TF32 of float32's convolutions
    change_record(context)

    class Broken(Once):
        def logits(self, images):
            found = super().logits(images)
            found[5, 2] *= 1.02
            return found

    monkeypatch.setattr(rows, "PredictStep", Broken)
    assert verdict("logits", Context("CPU", 2, context.folder, context.bundled))[0] == FAILED


def test_fault_a_damaged_checkpoint(context):
    content = bytearray((context.bundled / CHECKPOINT).read_bytes())
    content[20_000] ^= 1
    (context.bundled / CHECKPOINT).write_bytes(content)
    for name in ("logits", "evaluation", "onnx", "mindir", "weights", "cpp"):
        found, figure = verdict(name, context)
        assert found == FAILED and "is not the bundled file" in figure


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([(354, 338), (354, 338)], "354 pictures were counted, there are 355"),
        ([(355, 338), (355, 337)], "batches of 7 and 128 count"),
        ([(355, 300), (355, 300)], "300 of 355 are right, recorded were"),
    ],
)
def test_fault_an_evaluation_that_drops_or_mistakes_pictures(context, monkeypatch, counts, message):
    answers = iter(counts)

    def evaluated(_argv):
        seen, right = next(answers)
        return {"x": SimpleNamespace(seen=seen, top1_correct=right)}

    monkeypatch.setattr(rows.evaluate, "main", evaluated)
    found, figure = verdict("evaluation", context)
    assert found == FAILED and message in figure


@pytest.mark.parametrize(("seen", "right"), [(354, RECORDED["top1_correct"]), (355, 12)])
def test_fault_an_export_that_answers_otherwise(context, monkeypatch, seen, right):
    monkeypatch.setattr(rows, "_export", lambda *_: context.folder / "model.onnx")
    monkeypatch.setattr(rows.eval_onnx, "main", lambda _: SimpleNamespace(seen=seen, top1_correct=right))
    assert verdict("onnx", context)[0] == FAILED


@pytest.mark.parametrize("name", ["train", "O2", "O3"])
@pytest.mark.parametrize(("top1", "loss"), [(0.6, 1.2), (0.9, float("nan"))])
def test_fault_a_training_that_learns_too_little_or_diverges(context, monkeypatch, name, top1, loss):
    (context.folder / "metrics.csv").write_text(f"epoch,loss,top1,images_per_second\n8,{loss},{top1},100\n")
    monkeypatch.setattr(Context, "train", lambda *_: context.folder)
    assert verdict(name, context)[0] == FAILED


def test_fault_weights_that_change_on_their_way(context, monkeypatch):
    assert verdict("weights", context)[0] == PASSED
    exact = rows.weights

    def changed(path):
        found = exact(path)
        name = sorted(found)[0]
        return found | {name: found[name] * np.float32(1 + 1e-6)}

    monkeypatch.setattr(rows, "weights", changed)
    again = Context("CPU", 2, context.folder / "again", context.bundled)
    again.folder.mkdir()
    assert "1 arrays differ after the conversion" in verdict("weights", again)[1]


def test_fault_ranks_with_other_weights_or_counts(context, monkeypatch, trained_run):
    run = context.folder / "ranks/run"
    run.mkdir(parents=True)
    first, last = trained_run / "0-1_6.ckpt", newest(trained_run)
    shutil.copy(last, run / "0-2_12.ckpt")
    shutil.copy(last, run / "1-2_12.ckpt")
    monkeypatch.setattr(Context, "run", lambda *_: f"top1_correct=9, tot={HELD_OUT}")
    assert verdict("ranks", context)[0] == PASSED
    shutil.copy(first if first.exists() else min(trained_run.glob("0-1_*.ckpt")), run / "1-2_12.ckpt")
    assert "rank 1 has other weights than rank 0" in verdict("ranks", context)[1]
    (run / "1-2_12.ckpt").unlink()
    assert "not every rank has written" in verdict("ranks", context)[1]
    monkeypatch.setattr(Context, "run", lambda *_: f"top1_correct=9, tot={HELD_OUT}\ntop1_correct=9, tot=354")
    assert "the ranks counted" in verdict("ranks", context)[1]


def test_fault_a_resumed_run_with_other_bits(context, monkeypatch, trained_run):
    last = newest(trained_run)
    first = min(trained_run.glob("0-1_*.ckpt"))

    def train(_self, *_):
        folder = context.folder / "whole/run"
        folder.mkdir(parents=True)
        shutil.copy(last, folder)
        return folder

    def run(_self, words, _seconds):
        assert "--resume" in words
        shutil.copy(first, context.folder / "killed/run" / last.name)
        return ""

    class Killed:
        def __init__(self, *_, **__):
            (context.folder / "killed/run").mkdir(parents=True)
            shutil.copy(first, context.folder / "killed/run" / first.name)

        def poll(self):
            return None

        kill = wait = poll

    monkeypatch.setattr(Context, "train", train)
    monkeypatch.setattr(Context, "run", run)
    monkeypatch.setattr(rows.subprocess, "Popen", Killed)
    found, figure = verdict("resume", context)
    assert found == FAILED and re.search(r"resumed, \d+ arrays differ", figure)


@pytest.mark.parametrize(
    ("answers", "message"),
    [(range(60), "are right, recorded were"), (range(59), "59 of 60 pictures were answered"), ((), "0 of 60")],
)
def test_fault_a_cpp_program_that_answers_otherwise(context, monkeypatch, answers, message):
    said = "\n".join(f"{index}.png: 7 93.10 %, 2 4.20 %" for index in answers)
    monkeypatch.setattr(Context, "run", lambda *_: said)
    monkeypatch.setattr(rows.export, "main", lambda _: None)
    found, figure = verdict("cpp", context)
    assert found == FAILED and message in figure


@pytest.mark.slow
def test_fault_a_worker_that_crashes_hangs_or_leaves_fails_that_row_alone(tmp_path):
    names = ["a", "die", "b", "hang", "leave", "c"]
    said = []
    limits = dict.fromkeys(names, 20.0) | {"hang": 0.4}
    results = try_rows({"rows": names}, limits, tmp_path / "log", said.append, "tests.scripts.dying_worker")
    assert [(result.row, result.verdict) for result in results] == [
        ("a", PASSED), ("die", FAILED), ("b", PASSED), ("hang", FAILED), ("leave", FAILED), ("c", PASSED),
    ]  # fmt: skip
    assert said == results
    figures = {result.row: result.figure for result in results}
    assert "ended by signal 11" in figures["die"] and "took more than 0.4 s" in figures["hang"]
    assert "exit status 3" in figures["leave"]


def test_fault_a_bug_of_the_row_itself_is_a_failure_too(context):
    def broken(_):
        raise KeyError("bug")

    assert attempt(rows.Row("x", "", broken), context) == (FAILED, "KeyError: 'bug'")


def test_fault_a_command_that_fails_or_hangs(context):
    with pytest.raises(ReportedError, match=r"x\.sh took more than 0\.2 s"):
        (context.folder / "x.sh").write_text("sleep 9")
        context.run(["bash", context.folder / "x.sh"], 0.2)
    with pytest.raises(ReportedError, match=r"y\.sh ended with 3: error: it is broken"):
        (context.folder / "y.sh").write_text("echo 'error: it is broken' >&2; exit 3")
        context.run(["bash", context.folder / "y.sh"], 20)


def test_rows_that_are_not_about_a_device_do_not_apply(context, monkeypatch):
    assert verdict("air", context)[0] == NOT_APPLICABLE
    for target, name in (("GPU", "cpp"), ("Ascend", "cpp"), ("GPU", "bf16")):
        monkeypatch.delenv("LITE_HOME", raising=False)
        with pytest.raises(NotApplicableError):
            row(name).try_it(Context(target, 1, context.folder, context.bundled))
    with pytest.raises(NotApplicableError, match="one device"):
        row("ranks").try_it(Context("CPU", 1, context.folder, context.bundled))


def test_a_failed_row_decides_the_exit_status_and_is_in_the_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "examine", lambda _: [])
    monkeypatch.setattr(
        command,
        "try_rows",
        lambda *_: [command.Result("logits", FAILED, "a | b", 1.0), command.Result("air", "-", "no")],
    )
    with pytest.raises(ReportedError, match=r"1 of 2 rows failed: logits; .*tar\.gz holds the log"):
        command.main(["CPU", "1", "logits", "air"])
    out = capsys.readouterr().out
    assert "| logits | FAIL | a / b |" in out and "0 passed, 1 failed, 1 do not apply" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "required"),
        (["TPU"], "invalid choice"),
        (["CPU", "none"], "DEVICES is 'none'"),
        (["CPU", "0"], "DEVICES is '0'"),
        (["CPU", "2", "logits", "nothing"], "there is no row 'nothing'; choose from logits"),
    ],
)
def test_wrong_usage(words, message):
    with pytest.raises(UsageError, match=message):
        command.parse(words)


def test_without_such_a_device_it_does_not_begin():
    with pytest.raises(ReportedError, match=r"0 GPU devices .*python -m src\.doctor says what is missing"):
        command.main(["GPU"])


def test_the_script_without_arguments_shows_its_usage():
    done = subprocess.run(["bash", ROOT / "scripts/test_device.sh"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("usage: bash scripts/test_device.sh CPU|GPU|Ascend")
