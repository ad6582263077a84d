"""--ema_decay from the flag to the answer: trained, evaluated beside the raw weights, saved, chosen."""

import csv
import re

import numpy as np
import pytest
from commands import train_tiny

import eval as evaluation
from src.deploy.model import load_model
from src.utils.checkpoint import list_checkpoints, load_checkpoint
from src.utils.errors import UsageError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def averaged_run(tmp_path_factory):
    flags = ["--eval_data_dir", "bundled", "--max_epoch", "2", "--ema_decay", "0.9998", "--per_batch_size", "64"]
    return train_tiny(tmp_path_factory.mktemp("averaged"), *flags)


def table(run) -> list[dict]:
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_both_are_evaluated_and_the_average_is_warm_after_an_epoch(averaged_run):
    for row in table(averaged_run):
        assert 0 < float(row["ema_eval_loss"]) != float(row["eval_loss"])
    first = table(averaged_run)[0]
    assert float(first["ema_eval_loss"]) < float(first["eval_loss"]) + 0.2, "without the warm-up it would be untrained"
    log = (averaged_run / "train.log").read_text()
    lines = re.findall(r"after allreduce eval: top1_correct=(\d+), tot=355, acc=\S+%( \(EMA weights\))?", log)
    assert [bool(suffix) for _, suffix in lines] == [False, True] * 2
    found = [round(355 * float(row[key])) for row in table(averaged_run) for key in ("top1", "ema_top1")]
    assert [int(correct) for correct, _ in lines] == found


def test_eval_takes_what_the_checkpoint_says_or_what_is_asked_for(averaged_run, tmp_path, capsys):
    last, best = list_checkpoints(averaged_run)[0], averaged_run / "best.ckpt"
    assert load_checkpoint(last).metadata["weights"] == "ema"
    epochs = [load_checkpoint(path).metadata["progress"]["epoch"] for path in (last, best)]
    rows = [table(averaged_run)[epoch] for epoch in epochs]
    which = load_checkpoint(best).metadata["weights"]
    top1 = {"raw": float(rows[1]["top1"]), "ema": float(rows[1]["ema_top1"])}
    assert which == ("ema" if top1["ema"] > top1["raw"] else "raw")
    for path, weights, said, expected in (
        (best, "auto", which, max(top1.values())),
        (last, "auto", "ema", float(rows[0]["ema_top1"])),
        (last, "raw", "raw", float(rows[0]["top1"])),
    ):
        (accuracy,) = evaluation.main(
            ["--ckpt_files", str(path), "--weights", weights, "--save_ckpt_path", str(tmp_path / "out")]
        ).values()
        assert accuracy.top1 == pytest.approx(expected)
        assert f"checkpoint {path}, {said} weights" in capsys.readouterr().out


def test_a_loaded_model_has_the_weights_that_were_chosen(averaged_run):
    last = list_checkpoints(averaged_run)[0]
    images = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    auto, ema, raw = (load_model(last, weights=weights).logits(images) for weights in ("auto", "ema", "raw"))
    assert np.array_equal(auto, ema)
    assert not np.allclose(ema, raw)


def test_an_average_that_is_not_there_is_an_error(trained_run):
    checkpoint = trained_run / "best.ckpt"
    assert "weights" not in load_checkpoint(checkpoint).metadata
    with pytest.raises(UsageError, match=r"found weights ema, but .*best\.ckpt holds no average of its weights"):
        evaluation.main(["--ckpt_files", str(checkpoint), "--weights", "ema"])
