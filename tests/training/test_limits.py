"""What ends a training early: counted over resumptions, with a checkpoint, and no error."""

import re

import numpy as np
import pytest
from mindspore import Tensor
from test_trainer import go_on, make_trainer, names, rows
from toy import make_step
from trainers import batches

from src.training import limits as limits_module
from src.training.limits import Limits
from src.training.progress import Progress
from src.utils.accuracy import Accuracy
from src.utils.checkpoint import load_checkpoint

RIGHT = (3, 7, 6, 7, 2, 9)  # of ten, after each epoch


def evaluation(first: int = 1):
    """Answers as RIGHT says, from epoch number `first` on."""
    left = iter(RIGHT[first - 1 :])

    def evaluate(_) -> Accuracy:
        accuracy, correct = Accuracy(2), next(left)
        accuracy.set_counts(np.array([[0, 0, correct], [1, 0, 10 - correct]]))
        return accuracy

    return evaluate


def test_patience_counts_evaluations_since_the_best(tmp_path, capsys):
    """Equal is not better; what comes later, and would be, is not reached until a resumed run has more patience."""
    progress = make_trainer(tmp_path, evaluate=evaluation(), max_epoch=6, limits=Limits(patience=3)).run()
    assert [row["top1"] for row in rows(tmp_path)] == ["0.3", "0.7", "0.6", "0.7", "0.2"]
    assert (progress.not_better, progress.best_score) == (3, 0.7)
    out = capsys.readouterr().out
    assert "patience 3 has gone: as many evaluations with no better top1 since the best one; to go on: " in out
    assert f"--resume {tmp_path} --patience 6" in out
    assert "best top-1 70.00 % in epoch 2" in out.splitlines()[-1]

    again = go_on(tmp_path, "0-5_5.ckpt", evaluate=evaluation(5), max_epoch=6, limits=Limits(patience=3)).run()
    assert again.not_better == 3, "its last evaluation is made once more, and ends it once more"
    assert names(tmp_path)[-2] == "0-5_5.ckpt"
    further = go_on(tmp_path, "0-5_5.ckpt", evaluate=evaluation(5), max_epoch=6, limits=Limits(patience=4)).run()
    assert (further.not_better, further.best_score, further.epoch) == (0, 0.9, 6)
    assert load_checkpoint(tmp_path / "best.ckpt").metadata["progress"]["not_better"] == 0


def test_without_patience_or_hours_nothing_ends(tmp_path):
    assert make_trainer(tmp_path, evaluate=evaluation(), max_epoch=6).run().epoch == 6


def test_max_hours_end_a_run_after_a_checkpoint_and_count_over_resumptions(tmp_path, monkeypatch, capsys):
    """Each step takes an hour, and an epoch has five."""
    now = [0.0]
    monkeypatch.setattr(limits_module.time, "monotonic", lambda: now[0])

    def rate(_) -> float:
        now[0] += 3600
        return 0.1

    def run_on(checkpoint: str, max_hours: float, first: int = 1) -> Progress:
        limits = Limits(max_hours=max_hours)
        return go_on(tmp_path, checkpoint, evaluate=evaluation(first), limits=limits, schedule=rate).run()

    progress = make_trainer(tmp_path, evaluate=evaluation(), limits=Limits(max_hours=3), schedule=rate).run()
    assert (progress.epoch, progress.images, progress.seconds) == (0, 12, 3 * 3600)
    assert names(tmp_path) == ["0-1_3.ckpt"]
    said = (
        r"max_hours 3 has gone: 3\.00 hours of training; saved: \S+/0-1_3\.ckpt; to go on: --resume \S+ --max_hours 6"
    )
    assert re.search(said, capsys.readouterr().out)

    assert (run_on("0-1_3.ckpt", 3).images, names(tmp_path)) == (12, ["0-1_3.ckpt"]), "no step more"
    assert run_on("0-1_3.ckpt", 5).seconds == 5 * 3600
    assert names(tmp_path) == ["0-1_3.ckpt", "0-1_5.ckpt"]
    assert not rows(tmp_path), "the epoch's end is evaluated by the run that goes on"
    assert (run_on("0-1_5.ckpt", 8).epoch, names(tmp_path)[-2]) == (1, "0-2_3.ckpt")
    assert run_on("0-2_3.ckpt", 10, first=2).epoch == 2, "at the very end the evaluation alone is left"
    assert [row["top1"] for row in rows(tmp_path)] == ["0.3", "0.7"]


def test_a_checkpoint_that_does_not_say_has_trained_no_time():
    values = Progress().to_dict()
    for key in ("seconds", "not_better"):
        del values[key]
    assert Progress.from_dict(values) == Progress()


class Refresh:
    """What the loop asks of a `StatisticsRefresh`; it adds one to a bias when it is done."""

    def __init__(self, step) -> None:
        self.step, self.batches, self.done = step, [], 0

    def take(self, images: np.ndarray) -> None:
        self.batches.append(images)

    def finish(self) -> None:
        self.done += 1
        bias = self.step.network.fc.bias
        bias.set_data(Tensor(bias.asnumpy() + 1))


def test_out_of_patience_the_statistics_are_those_of_the_last_size_and_are_evaluated(tmp_path):
    """As at the end of training; whoever goes on makes that epoch's evaluation once more, as always."""
    step, seen, right = make_step(), [], iter((7, 6, 6, 8))
    refresh = Refresh(step)

    def evaluate(_) -> Accuracy:
        accuracy, correct = Accuracy(2), next(right)
        seen.append((correct, refresh.done))
        accuracy.set_counts(np.array([[0, 0, correct], [1, 0, 10 - correct]]))
        return accuracy

    trainer = make_trainer(tmp_path, step=step, refresh=refresh, evaluate=evaluate, max_epoch=6, limits=Limits(2))
    progress = trainer.run()
    assert seen == [(7, 0), (6, 0), (6, 0), (8, 1)]
    np.testing.assert_array_equal(refresh.batches, [images for images, *_ in batches(6)])  # of the epoch after the last
    assert [row["top1"] for row in rows(tmp_path)] == ["0.7", "0.6", "0.8"]
    assert (progress.best_score, progress.not_better) == (0.8, 0)
    saved, best = (load_checkpoint(tmp_path / name) for name in ("0-3_5.ckpt", "best.ckpt"))
    for one in (saved, best):
        np.testing.assert_array_equal(one.arrays["fc.bias"], step.network.fc.bias.asnumpy())
    found = Progress.from_dict(saved.metadata["progress"])
    assert (found.epoch, found.evaluation_due, found.not_better, found.refresh_due) == (2, True, 1, False)


@pytest.mark.parametrize(("hours", "name"), [(3, "0-1_3.ckpt"), (6.5, "0-1_5.ckpt")])
def test_out_of_time_too(hours, name, tmp_path, monkeypatch):
    """In an epoch, and after the evaluation of one: what was saved last is saved again with the new statistics."""
    now = [0.0]
    monkeypatch.setattr(limits_module.time, "monotonic", lambda: now[0])

    def later(hours: float, value):
        now[0] += 3600 * hours
        return value

    step = make_step()
    refresh = Refresh(step)
    trainer = make_trainer(
        tmp_path, step=step, refresh=refresh, evaluate=lambda _: later(2, Accuracy(3)), max_epoch=4,
        limits=Limits(max_hours=hours), schedule=lambda _: later(1, 0.1),
    )  # fmt: skip
    trainer.run()
    assert (refresh.done, names(tmp_path)[0]) == (1, name)
    assert [one for one in names(tmp_path) if one.startswith("0-")] == [name]
    np.testing.assert_array_equal(load_checkpoint(tmp_path / name).arrays["fc.bias"], step.network.fc.bias.asnumpy())
