"""The loop: its log lines, windows, checkpoints, and what it evaluates when."""

import io
import re
import sys

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor
from toy import give_back, make_data, make_step, new_step
from trainers import BATCH, STEPS, batches, go_on, half_right, make_trainer, names, rate, rows

from src.training.evaluation import PredictStep, evaluate
from src.training.progress import Progress
from src.training.step import LossScaling
from src.utils.accuracy import Accuracy
from src.utils.checkpoint import list_checkpoints, load_checkpoint, load_training_state

STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}:INFO:"
WINDOW_LINE = STAMP + r"epoch\[(\d+)\], iter\[(\d+)\], loss:(\d+\.\d{3}), mean_fps:\d+\.\d\d imgs/sec, lr:(\S+)"
EPOCH_LINE = STAMP + r"epoch\[(\d+)\], iter\[(\d+)\], loss:(\d+\.\d{3}), mean_fps:\d+\.\d\d imgs/sec"


def losses_of(step, epochs: int = 2) -> list[float]:
    """The losses that the trainer must see: the same steps, one after the other."""
    found = []
    for i in range(epochs * STEPS):
        images, labels, _ = next(batches(i // STEPS, 0, i % STEPS))
        loss, *_ = step(Tensor(images), Tensor(labels), Tensor(rate(i), ms.float32), Tensor(True))
        found.append(float(loss.asnumpy()))
    return found


def test_log_lines_windows_and_metrics(tmp_path, capsys):
    """Windows end every second step since the start of training; the epoch's line is in the place of its last."""
    losses = losses_of(make_step())
    make_trainer(tmp_path).run()
    out = capsys.readouterr().out.splitlines()
    windows = [found.groups() for line in out if (found := re.fullmatch(WINDOW_LINE, line))]
    expected = [(0, 1, losses[0:2]), (0, 3, losses[2:4]), (1, 5, losses[5:6]), (1, 7, losses[6:8])]
    assert windows == [
        (str(epoch), str(step), f"{np.mean(values):.3f}", f"{rate(step):.6g}") for epoch, step, values in expected
    ]
    epochs = [found.groups() for line in out if (found := re.fullmatch(EPOCH_LINE, line))]
    assert epochs == [("0", "4", f"{np.mean(losses[:5]):.3f}"), ("1", "9", f"{np.mean(losses[5:]):.3f}")]
    assert [(r["epoch"], r["step"], r["top1"]) for r in rows(tmp_path)] == [("1", "5", ""), ("2", "10", "")]
    assert [float(r["loss"]) for r in rows(tmp_path)] == [np.mean(losses[:5]), np.mean(losses[5:])]
    assert [float(r["learning_rate"]) for r in rows(tmp_path)] == [rate(4), rate(9)]


def test_a_step_with_accumulation_takes_several_batches_and_logs_their_mean(tmp_path, capsys):
    step = make_step(accumulation_steps=2)
    data = lambda **place: batches(**place, accumulation_steps=2)  # noqa: E731
    plan = {"max_epoch": 1, "num_images": 2 * STEPS * BATCH, "accumulation_steps": 2, "ckpt_interval": 3}
    progress = make_trainer(tmp_path, step=step, data=data, **plan).run()
    assert progress.epoch == 1
    saved = load_checkpoint(tmp_path / "0-1_3.ckpt").require("progress")
    assert (saved["images"], saved["epoch_loss"]["count"]) == (3 * 2 * BATCH, 3)
    assert "iter[4]" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("interval", "keep", "expected"),
    [
        (0, 100, ["0-1_5.ckpt", "0-2_5.ckpt"]),
        (3, 100, ["0-1_3.ckpt", "0-1_5.ckpt", "0-2_1.ckpt", "0-2_4.ckpt", "0-2_5.ckpt"]),
        (3, 2, ["0-2_4.ckpt", "0-2_5.ckpt"]),
        (0, 1, ["0-2_5.ckpt"]),
    ],
)
def test_checkpoints_at_each_epochs_end_and_every_so_many_steps(interval, keep, expected, tmp_path):
    make_trainer(tmp_path, ckpt_interval=interval, keep=keep).run()
    assert names(tmp_path) == expected
    assert load_checkpoint(tmp_path / expected[-1]).metadata["note"] == "kept"


@pytest.mark.slow
def test_from_every_checkpoint_the_rest_is_bit_identical(tmp_path):
    whole, rest = tmp_path / "whole", tmp_path / "rest"
    whole.mkdir()
    make_trainer(whole, ckpt_interval=1).run()
    end = load_checkpoint(whole / "0-2_5.ckpt")
    for path in list_checkpoints(whole):
        checkpoint = load_checkpoint(path)
        give_back()  # the step of the turn before
        step, progress = make_step(), Progress.from_dict(checkpoint.require("progress"))
        load_training_state(step.saved_parameters(), checkpoint)
        (rest / path.stem).mkdir(parents=True)
        make_trainer(rest / path.stem, step=step, progress=progress, ckpt_interval=1).run()
        untimed = [{k: r[k] for k in r if k != "images_per_second" and "wait" not in k} for r in rows(rest / path.stem)]
        assert untimed == [{k: r[k] for k in r if k in untimed[0]} for r in rows(whole)], path
        parameters = {p.name: p.asnumpy() for p in step.saved_parameters()}
        assert all(value.tobytes() == parameters[name].tobytes() for name, value in end.arrays.items()), path


def test_best_is_kept_and_evaluation_comes_every_so_many_epochs_and_last(tmp_path):
    results, calls = iter([3, 7, 7, 5]), []

    def evaluate(_):
        correct = next(results)
        calls.append(correct)
        accuracy = Accuracy(2)
        accuracy.set_counts(np.array([[0, 0, correct], [1, 0, 10 - correct]]))
        return accuracy

    progress = make_trainer(tmp_path, evaluate=evaluate, max_epoch=7, eval_interval=2, keep=2).run()
    assert calls == [3, 7, 7, 5]  # after epochs 2, 4, 6 and the last
    assert [r["top1"] for r in rows(tmp_path)] == ["", "0.3", "", "0.7", "", "0.7", "0.5"]
    assert [r["top5"] for r in rows(tmp_path)] == [""] * 7, "ten classes or fewer have no top-5"
    best = load_checkpoint(tmp_path / "best.ckpt").metadata["progress"]
    assert (best["epoch"], best["best_score"]) == (3, 0.7), "the first of equal ones, counted from 0"
    assert progress.best_score == 0.7
    assert names(tmp_path) == ["0-6_5.ckpt", "0-7_5.ckpt", "best.ckpt"]


def test_the_better_of_the_weights_and_their_average_is_the_best(tmp_path, capsys):
    step = make_step(ema_decay=0.5)
    right = iter([3, 2, 4, 6])

    def evaluate(_):
        accuracy, correct = Accuracy(2), next(right)
        is_average = np.array_equal(step.network.fc.weight.asnumpy(), step.average.averages[0].asnumpy())
        assert is_average == (correct % 2 == 0 and correct != 4)
        accuracy.set_counts(np.array([[0, 0, correct], [1, 0, 10 - correct]]))
        return accuracy

    make_trainer(tmp_path, step=step, evaluate=evaluate).run()
    assert [(r["top1"], r["ema_top1"]) for r in rows(tmp_path)] == [("0.3", "0.2"), ("0.4", "0.6")]
    best = load_checkpoint(tmp_path / "best.ckpt").metadata
    assert (best["progress"]["epoch"], best["progress"]["best_score"], best["weights"]) == (1, 0.6, "ema")
    assert load_checkpoint(tmp_path / "0-1_5.ckpt").metadata["weights"] == "ema"
    out = capsys.readouterr().out
    assert "top1_correct=4, tot=10, acc=40.00%\n" in out
    assert "top1_correct=6, tot=10, acc=60.00% (EMA weights)\n" in out
    assert "best top-1 60.00 % in epoch 2 (EMA weights)" in out


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint", ["0-2_5.ckpt", "best.ckpt"])
def test_what_is_past_is_not_computed_again_when_a_finished_run_gets_more_epochs(checkpoint, tmp_path):
    """With another schedule, batch size and interval of evaluations: each would change the last row."""
    make_trainer(tmp_path, evaluate=half_right, eval_interval=2).run()
    before = rows(tmp_path)
    assert [row["top1"] for row in before] == ["", "0.5"]
    changed = {"max_epoch": 3, "batch_size": 2 * BATCH, "eval_interval": 5, "schedule": lambda _: 0.001}
    data = lambda **_: iter([(*make_data(2 * BATCH), np.arange(2 * BATCH))] * 2)  # noqa: E731
    progress = go_on(tmp_path, checkpoint, evaluate=half_right, data=data, **changed).run()
    after = rows(tmp_path)
    assert after[:2] == before
    assert (after[2]["epoch"], after[2]["step"], after[2]["learning_rate"]) == ("3", str(2 * STEPS + 2), "0.001")
    assert progress.steps == 2 * STEPS + 2, "steps that were made, not those that the new batch size would have needed"


def test_a_checkpoint_of_an_earlier_version_gets_the_row_it_was_saved_without(tmp_path):
    make_trainer(tmp_path, max_epoch=1).run()
    found = load_checkpoint(tmp_path / "0-1_5.ckpt").require("progress")
    progress = Progress.from_dict(
        {**{k: found[k] for k in found if k not in ("steps", "evaluation_due")}, "history": []}
    )
    make_trainer(tmp_path, progress=progress, max_epoch=1, evaluate=half_right).run()
    assert [(row["step"], row["top1"], float(row["learning_rate"])) for row in rows(tmp_path)] == [
        ("5", "0.5", rate(4))
    ]


def test_training_goes_on_in_training_mode_after_an_evaluation(tmp_path):
    step, modes = make_step(), []
    predict_step = PredictStep(step.network)

    def check(_):
        modes.append(step.network.training)
        data = list(batches(0, 0, 0))
        found = evaluate(predict_step.set_train(False).logits, data, batch_size=BATCH, num_classes=3)
        modes.append(step.network.training)
        return found

    make_trainer(tmp_path, step=step, evaluate=check).run()
    assert modes == [True, False, True, False]


def test_skipped_updates_are_counted_logged_and_left_out_of_the_loss(tmp_path, capsys):
    def data(epoch, first_image, first_batch):
        for i, (images, labels, indices) in enumerate(batches(epoch, first_image, first_batch), first_batch):
            yield images * np.float32(np.inf if i == 2 else 1), labels, indices

    step = make_step(scaling=LossScaling("dynamic", 64.0))
    make_trainer(tmp_path, step=step, data=data).run()
    assert [r["skipped_steps"] for r in rows(tmp_path)] == ["1", "2"]
    assert all(np.isfinite(float(r["loss"])) for r in rows(tmp_path))
    assert load_checkpoint(tmp_path / "0-2_5.ckpt").arrays["loss_scale"] == 16
    where = f"at epoch 2, step 3 (iter 7), learning rate {rate(7):g}"
    assert f"WARNING:gradient overflow {where}: update skipped (2 so far)" in capsys.readouterr().out


def test_resumed_with_another_global_batch_it_goes_on_at_the_same_image(tmp_path, capsys):
    """After 8 of 21 images, in batches of 6 from then on: two more fit, and then whole epochs of three."""
    first = make_trainer(tmp_path, max_epoch=1, ckpt_interval=2)
    first.run()
    progress = Progress.from_dict(load_checkpoint(tmp_path / "0-1_2.ckpt").require("progress"))
    asked = []

    def data(epoch, first_image, first_batch):
        asked.append((epoch, first_image, first_batch))
        for i in range(first_batch, (4 * STEPS + 1 - first_image) // 6):
            yield *make_data(6, seed=1000 * epoch + i), np.arange(6)

    (tmp_path / "on").mkdir()
    make_trainer(tmp_path / "on", progress=progress, data=data, batch_size=6, keep=100).run()
    assert asked == [(0, 8, 0), (1, 0, 0)]
    assert re.findall(r"iter\[(\d+)\]", capsys.readouterr().out)[-4:] == ["1", "2", "3", "5"]
    saved = [load_checkpoint(tmp_path / "on" / name).require("progress")["images"] for name in names(tmp_path / "on")]
    assert (names(tmp_path / "on"), saved) == (["0-1_3.ckpt", "0-2_3.ckpt"], [20, 18])


def test_the_bar_says_why_it_stands_still_and_what_is_left(tmp_path, monkeypatch):
    stderr = io.StringIO()
    stderr.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", stderr)
    make_trainer(tmp_path, step=new_step(), max_epoch=1).run()
    before, after = stderr.getvalue().split(f"1/{STEPS}", 1)
    assert "compiling the network" in before
    assert "compiling" not in after and re.search(r"left=\d\d:\d\d", after)


def test_the_last_line_names_the_best_checkpoint(tmp_path, capsys):
    make_trainer(tmp_path, evaluate=half_right).run()
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(STAMP + rf"best top-1 50.00 % in epoch 1: {tmp_path}/best.ckpt; next: python .*", lines[-1])
    assert [row["eval_loss"] for row in rows(tmp_path)] == ["0.0", "0.0"]
    assert sum(line.endswith("eval loss:0.0000 over 10 images") for line in lines) == 2
