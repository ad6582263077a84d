"""The loop: its log lines, windows, checkpoints, and how it ends when the loss does."""

import _thread
import csv
import io
import os
import re
import signal
import sys
from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor
from toy import make_data, make_step, values

from src.training import trainer as trainer_module
from src.training.evaluation import PredictStep, evaluate
from src.training.plan import Plan
from src.training.progress import Progress
from src.training.recorder import Recorder
from src.training.saver import Saver
from src.training.step import LossScaling
from src.training.trainer import UNREADABLE, Trainer, UnreadableDataError
from src.utils.accuracy import Accuracy
from src.utils.checkpoint import list_checkpoints, load_checkpoint, load_training_state
from src.utils.errors import ReportedError, StopError

STEPS, BATCH = 5, 4
STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}:INFO:"
WINDOW_LINE = STAMP + r"epoch\[(\d+)\], iter\[(\d+)\], loss:(\d+\.\d{3}), mean_fps:\d+\.\d\d imgs/sec, lr:(\S+)"
EPOCH_LINE = STAMP + r"epoch\[(\d+)\], iter\[(\d+)\], loss:(\d+\.\d{3}), mean_fps:\d+\.\d\d imgs/sec"


def rate(step: int) -> float:
    return 0.1 / (1 + step)


def batches(epoch: int, first_image: int, first_batch: int, accumulation_steps: int = 1):
    """The rest of an epoch: always the same images at the same place in training."""
    assert first_image == 0
    for i in range(first_batch, STEPS * accumulation_steps):
        yield *make_data(BATCH, seed=1000 * epoch + i), np.arange(BATCH)


def make_trainer(
    folder,
    *,
    step=None,
    progress=None,
    keep=100,
    evaluate=None,
    data=batches,
    schedule=rate,
    refresh=None,
    limits=None,
    **plan,
) -> Trainer:
    step, progress = step or make_step(), progress or Progress()
    plan = Plan(**{"max_epoch": 2, "num_images": STEPS * BATCH + 1, "batch_size": BATCH, "log_interval": 2, **plan})
    saver = Saver(folder, step, {"note": "kept"}, rank=0, keep=keep, active=True)
    recorder = Recorder(folder, progress.history, global_step=0, active=True)
    return Trainer(
        step, data, schedule, plan, progress, saver, recorder, evaluate=evaluate, refresh=refresh, limits=limits
    )


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.glob("*.ckpt"))


def rows(folder) -> list[dict]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


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


def go_on(folder, checkpoint, **plan) -> Trainer:
    """A trainer that resumes from the file, in the same folder."""
    found = load_checkpoint(folder / checkpoint)
    step, progress = make_step(), Progress.from_dict(found.require("progress"))
    load_training_state(step.saved_parameters(), found)
    return make_trainer(folder, step=step, progress=progress, **plan)


def half_right(_) -> Accuracy:
    accuracy = Accuracy(2)
    accuracy.set_counts(np.array([[0, 0, 5], [1, 0, 5]]))
    return accuracy


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


@pytest.mark.slow
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_stops_and_the_last_good_checkpoint_stays_the_newest(bad, tmp_path):
    def data(epoch, first_image, first_batch):
        for i, (images, labels, indices) in enumerate(batches(epoch, first_image, first_batch), first_batch):
            yield images * np.float32(bad if (epoch, i) == (1, 3) else 1), labels, indices

    with pytest.raises(ReportedError) as raised:
        make_trainer(tmp_path, data=data, ckpt_interval=2).run()
    good = tmp_path / "0-2_3.ckpt"
    assert str(raised.value) == (
        f"the loss is nan at epoch 2, step 4 (iter 8), learning rate {rate(8):g}; the last good checkpoint is {good}; "
        "lower --lr, lengthen --warmup_epochs or set --grad_clip_norm"
    )
    assert list_checkpoints(tmp_path)[0] == good
    assert all(np.isfinite(value).all() for value in load_checkpoint(good).arrays.values())


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    """The loss of the step that broke them was still finite."""

    def huge(step):
        return float("inf") if step == STEPS + 1 else rate(step)

    with pytest.raises(ReportedError, match=r"(fc\.\w+|moments\S+) is not finite.*the last good one is .*0-2_1\.ckpt"):
        make_trainer(tmp_path, schedule=huge, ckpt_interval=1).run()
    assert list_checkpoints(tmp_path)[0].name == "0-2_1.ckpt"


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


def test_overflows_without_end_stop(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer_module, "MAX_SKIPS_IN_A_ROW", 4)

    def data(epoch, first_image, first_batch):
        for images, labels, indices in batches(epoch, first_image, first_batch):
            yield images * np.float32(np.nan), labels, indices

    with pytest.raises(ReportedError, match="4 updates in a row overflowed at epoch 1, step 4"):
        make_trainer(tmp_path, step=make_step(scaling=LossScaling("dynamic")), data=data).run()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_position_and_stops(number, tmp_path):
    """Signalled as `deliver_interrupts` does; tests/test_resume.py sends real signals to the real command."""

    def data(epoch, first_image, first_batch):
        for i, batch in enumerate(batches(epoch, first_image, first_batch)):
            if (epoch, i) == (1, 2):
                _thread.interrupt_main(number)
            yield batch

    with pytest.raises(StopError, match=rf"stopped by {number.name} \(saved: .*/0-2_3\.ckpt\); go on with --resume"):
        make_trainer(tmp_path, data=data).run()
    assert names(tmp_path) == ["0-1_5.ckpt", "0-2_3.ckpt"]
    assert len(rows(tmp_path)) == 1


def unreadable_at(broken: tuple[int, int], accumulation_steps: int = 1):
    """Data of which, in an epoch, a batch cannot be read."""

    def data(epoch, first_image, first_batch):
        for i, batch in enumerate(batches(epoch, first_image, first_batch, accumulation_steps), first_batch):
            if (epoch, i) == broken:
                raise ReportedError("cat/1.jpg cannot be read: Input/output error")
            yield batch

    return data


@pytest.mark.slow
@pytest.mark.parametrize(("accumulation_steps", "broken"), [(1, (1, 2)), (2, (1, 5))])
def test_an_unreadable_file_saves_the_position_and_training_goes_on_from_there(accumulation_steps, broken, tmp_path):
    """Once it is mended the end is, bit for bit, that of a run that was not interrupted."""
    plan = {"num_images": STEPS * BATCH * accumulation_steps, "accumulation_steps": accumulation_steps}
    good, bad = unreadable_at((-1, 0), accumulation_steps), unreadable_at(broken, accumulation_steps)
    step, resumed, whole = (make_step(accumulation_steps=accumulation_steps) for _ in range(3))
    with pytest.raises(UnreadableDataError) as raised:
        make_trainer(tmp_path, step=step, data=bad, **plan).run()
    saved = tmp_path / "0-2_2.ckpt"
    assert str(raised.value) == (
        f"cat/1.jpg cannot be read: Input/output error; saved: {saved}; go on with --resume {tmp_path}"
    )
    assert names(tmp_path) == ["0-1_5.ckpt", saved.name]

    checkpoint = load_checkpoint(saved)
    load_training_state(resumed.saved_parameters(), checkpoint)
    progress = Progress.from_dict(checkpoint.require("progress"))
    for name, trained, begin in (("on", resumed, progress), ("whole", whole, None)):
        (tmp_path / name).mkdir()
        make_trainer(tmp_path / name, step=trained, progress=begin, data=good, **plan).run()
    assert all(value.tobytes() == values(whole)[name].tobytes() for name, value in values(resumed).items())


@pytest.mark.parametrize(
    ("broken", "where"),
    [((0, 0), "nothing has been trained yet"), ((1, 0), r"saved: .*/0-1_5\.ckpt; go on with --resume")],
)
def test_an_unreadable_file_at_the_beginning_of_an_epoch(broken, where, tmp_path):
    with pytest.raises(UnreadableDataError, match=rf"cannot be read: Input/output error; {where}"):
        make_trainer(tmp_path, data=unreadable_at(broken)).run()


def test_unreadable_held_out_data_lose_no_position_either(tmp_path):
    def evaluate(_):
        raise ReportedError("dog/2.jpg cannot be read")

    with pytest.raises(ReportedError, match=r"dog/2\.jpg cannot be read; saved: .*/0-1_5\.ckpt; go on with --resume"):
        make_trainer(tmp_path, evaluate=evaluate).run()


def test_data_that_another_rank_cannot_read_end_all_ranks_at_the_same_step(tmp_path):
    trainer = make_trainer(tmp_path)
    reasons = iter([0, 0, 0, UNREADABLE])  # of the other rank, before the first step and after each
    ask = lambda flag: max(flag, next(reasons, 0))  # noqa: E731
    trainer.group = SimpleNamespace(world_size=1, is_master=True, any=ask, wait=lambda: None)
    with pytest.raises(UnreadableDataError, match=r"another rank cannot be read.*; saved: .*/0-1_3\.ckpt; go on with"):
        trainer.run()
    assert names(tmp_path) == ["0-1_3.ckpt"]


def test_a_signal_during_the_evaluation_stops_it(tmp_path):
    def evaluate(stop_requested):
        assert not stop_requested()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop_requested()
        return Accuracy(3)

    with pytest.raises(StopError) as raised:
        make_trainer(tmp_path, evaluate=evaluate).run()
    assert raised.value.exit_status == 143
    assert names(tmp_path) == ["0-1_5.ckpt"]
    assert rows(tmp_path) == []


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


def test_of_a_full_disk_the_first_error_is_told(tmp_path, monkeypatch):
    def full(what):
        def refuse(*_):
            raise ReportedError(f"cannot write {what}")

        return refuse

    monkeypatch.setattr("src.training.saver.save_checkpoint", full("the checkpoint"))
    monkeypatch.setattr(Recorder, "close", full("the picture"))
    with pytest.raises(ReportedError, match="cannot write the checkpoint"):
        make_trainer(tmp_path).run()


def test_the_bar_says_why_it_stands_still_and_what_is_left(tmp_path, monkeypatch):
    stderr = io.StringIO()
    stderr.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", stderr)
    make_trainer(tmp_path, max_epoch=1).run()
    before, after = stderr.getvalue().split(f"1/{STEPS}", 1)
    assert "compiling the network" in before
    assert "compiling" not in after and re.search(r"left=\d\d:\d\d", after)


def test_the_last_line_names_the_best_checkpoint(tmp_path, capsys):
    make_trainer(tmp_path, evaluate=half_right).run()
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(STAMP + rf"best top-1 50.00 % in epoch 1: {tmp_path}/best.ckpt; next: python .*", lines[-1])
    assert [row["eval_loss"] for row in rows(tmp_path)] == ["0.0", "0.0"]
    assert sum(line.endswith("eval loss:0.0000 over 10 images") for line in lines) == 2


class Refresh:
    """What the loop asks of a `StatisticsRefresh`; it changes one weight when it is done."""

    def __init__(self, step, on_take=lambda: None) -> None:
        self.step, self.on_take, self.taken = step, on_take, []

    def take(self, images: np.ndarray) -> None:
        self.taken.append(images)
        self.on_take()

    def finish(self) -> None:
        bias = self.step.network.fc.bias
        bias.set_data(Tensor(bias.asnumpy() + 1))


def test_statistics_are_counted_anew_before_the_last_evaluation_and_saved(tmp_path):
    def later_batches(epoch: int, first_image: int = 0, first_batch: int = 0):
        return batches(epoch, first_image, first_batch)

    step, seen = make_step(), []
    refresh = Refresh(step)

    def evaluate(_):
        seen.append((len(refresh.taken), step.network.fc.bias.asnumpy().copy()))
        return Accuracy(3)

    make_trainer(tmp_path, step=step, refresh=refresh, evaluate=evaluate, data=later_batches).run()
    assert [count for count, _ in seen] == [0, STEPS]
    expected = [images for images, *_ in batches(2, 0, 0)]  # of the epoch after the last one
    np.testing.assert_array_equal(refresh.taken, expected)
    saved = load_checkpoint(tmp_path / f"0-2_{STEPS}.ckpt")
    np.testing.assert_array_equal(saved.arrays["fc.bias"], seen[-1][1])
    assert saved.metadata["progress"]["refresh_due"] is False


def test_a_stop_while_statistics_are_counted_begins_that_anew(tmp_path):
    def later_batches(epoch: int, first_image: int = 0, first_batch: int = 0):
        return batches(epoch, first_image, first_batch)

    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    whole = make_step()
    make_trainer(tmp_path / "whole", step=whole, refresh=Refresh(whole), data=later_batches).run()

    step = make_step()
    stop = Refresh(step, on_take=lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(StopError):
        make_trainer(tmp_path / "stopped", step=step, refresh=stop, data=later_batches).run()
    saved = load_checkpoint(tmp_path / "stopped" / f"0-2_{STEPS}.ckpt")
    assert saved.metadata["progress"]["refresh_due"] is True
    again = make_step()
    load_training_state(again.saved_parameters(), saved)
    progress = Progress.from_dict(saved.metadata["progress"])
    make_trainer(tmp_path / "stopped", step=again, progress=progress, refresh=Refresh(again), data=later_batches).run()
    for name, value in values(whole).items():
        np.testing.assert_array_equal(values(again)[name], value)
