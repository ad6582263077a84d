"""The line that a run ends with."""

import shlex

import pytest

from src.model_utils.config import parse
from src.training.best import best_epoch
from src.training.closing import closing_line
from src.training.progress import Progress

HISTORY = [{"epoch": 1, "top1": 0.5}, {"epoch": 2, "top1": ""}, {"epoch": 3, "top1": 0.75}]


def test_the_best_accuracy_its_file_and_commands_that_can_be_meant(tmp_path):
    folder = tmp_path / "my run"
    folder.mkdir()
    (folder / "best.ckpt").touch()
    line = closing_line(Progress(epoch=3, best_score=0.75, history=HISTORY), folder, "newest")
    assert line.startswith(f"best top-1 75.00 % in epoch 3: {folder}/best.ckpt; next: python eval.py ")
    for command in line.split("; next: ")[1].split(", or "):
        script, *argv = shlex.split(command)[1:]
        config = parse(script.removesuffix(".py"), argv, "")
        assert str(folder / "best.ckpt") in (config.ckpt_files, config.ckpt_file)


@pytest.mark.parametrize("progress", [Progress(epoch=3), Progress(epoch=3, best_score=0.75, history=HISTORY)])
def test_without_a_best_the_newest_is_named(progress, tmp_path):
    line = closing_line(progress, tmp_path, "run/0-3_5.ckpt")
    assert line == (
        "trained to epoch 3: run/0-3_5.ckpt; next: python eval.py --ckpt_files run/0-3_5.ckpt, or "
        "python export.py --ckpt_file run/0-3_5.ckpt --file_format ONNX"
    )


def test_an_epoch_before_the_held_out_pictures_became_others_is_not_the_best(tmp_path):
    (tmp_path / "best.ckpt").touch()
    progress = Progress(epoch=3, best_score=0.75, history=HISTORY[:1])
    progress.forget_best()
    assert (progress.best_score, progress.best_after) == (-1.0, 1)
    progress.best_score, progress.history = 0.5, [*HISTORY[:1], {"epoch": 3, "top1": 0.5}]
    assert closing_line(progress, tmp_path, "newest").startswith("best top-1 50.00 % in epoch 3: ")


def test_the_epoch_of_the_best_checkpoint():
    """The first of equal ones, of those since the held-out pictures are what they are; and whose weights."""
    rows = [{"epoch": n + 1, "top1": top1, "eval_loss": 1.0} for n, top1 in enumerate((0.9, 0.5, "", 0.7, 0.7))]
    progress = Progress(epoch=5, history=rows, best_score=0.7, best_after=2)
    assert best_epoch(progress, "top1") == (4, "raw")
    rows[4]["ema_top1"] = progress.best_score = 0.75
    assert best_epoch(progress, "top1") == (5, "ema")
    assert best_epoch(Progress(epoch=5, history=rows), "top1") is None
