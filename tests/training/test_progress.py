"""Progress survives JSON exactly, and nothing else is taken for it."""

import json
import math

import pytest

from src.training.progress import COLUMNS, Mean, Progress
from src.utils.errors import ReportedError

ROW = {**dict.fromkeys(COLUMNS, 0.1), "epoch": 1, "step": 11, "top5": ""}


def test_json_gives_back_every_bit():
    progress = Progress(3, 640, 64, Mean(0.1 + 0.2, 3), Mean(1e-300, 1), 0.7, [ROW])
    again = Progress.from_dict(json.loads(json.dumps(progress.to_dict())))
    assert again == progress
    assert again.epoch_loss.total == 0.1 + 0.2


def test_an_epoch_without_updates_has_no_loss():
    row = {**ROW, "loss": math.nan}
    assert math.isnan(Progress.from_dict(Progress(history=[row]).to_dict()).history[0]["loss"])


def test_rows_of_older_checkpoints_have_no_held_out_loss():
    older = {key: value for key, value in ROW.items() if key != "eval_loss"}
    assert Progress.from_dict({**Progress().to_dict(), "history": [older]}).history == [{**ROW, "eval_loss": ""}]


def test_mean():
    mean = Mean()
    assert math.isnan(mean.value)
    mean.add(1.0)
    mean.add(4.0)
    assert mean.value == 2.5


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": -1}, {"epoch": 1.0}, {"epoch": True}, {"images": "8"}, {"best_score": None}, {"history": {}},
        {"history": [{}]}, {"history": [{**ROW, "more": 1}]}, {"history": [{**ROW, "top1": "x"}]},
        {"history": [{**ROW, "epoch": 1.5}]}, {"epoch_loss": 1.0}, {"window_loss": {"sum": 0.0}},
        {"history": [{**ROW, "step": 10**400}]}, {"history": [{**ROW, "loss": 10**400}]}, {"epoch": 10**400},
        {"history": [{**ROW, "learning_rate": math.inf}]}, {"history": [{**ROW, "loss": 1e300}]},
        {"best_score": math.nan}, {"epoch_loss": {"total": math.inf, "count": 1}},
        {"first_image": 1}, {"unknown": 1}, {"epoch_loss": {"total": "x", "count": 0}},
    ],
)  # fmt: skip
def test_untrusted_values_are_checked(change):
    with pytest.raises(ReportedError, match="progress entry is not what"):
        Progress.from_dict({**Progress().to_dict(), **change})


@pytest.mark.parametrize("values", [None, [], "text", 1])
def test_other_types_are_reported(values):
    with pytest.raises(ReportedError, match="progress entry is not what"):
        Progress.from_dict(values)


def test_batches_done_follow_from_the_images():
    assert Progress(images=96).batches_done(32) == 3
    assert Progress(images=96).batches_done(48) == 2, "the same position with another number of ranks or batch size"


def test_where_batches_do_not_fit_they_are_dealt_out_anew_and_so_again_after_the_next_resumption():
    progress = Progress(images=96)
    assert (progress.batches_done(64), progress.first_image) == (0, 96)
    progress.images += 2 * 64
    again = Progress.from_dict(json.loads(json.dumps(progress.to_dict())))
    assert (again.batches_done(64), again.first_image) == (2, 96)
    again.next_epoch()
    assert (again.epoch, again.images, again.batches_done(64), again.first_image) == (1, 0, 0, 0)
