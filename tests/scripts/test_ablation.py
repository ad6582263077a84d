"""scripts/ablation.py: it trains what is not there, and its table is of what the runs say."""

import csv
import statistics
from pathlib import Path
from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest
from commands import TINY
from PIL import Image

import train
from scripts import ablation
from src.schema.options import BY_NAME
from src.training.step import TrainStep
from src.utils.errors import ReportedError, UsageError
from src.utils.parameters import overwrite


def test_ingredients_are_keys_and_change_the_recipe():
    for name, flags in ablation.INGREDIENTS.items():
        assert all(BY_NAME[key].commands[0] == "train" for key in flags), name
        default = {key: ablation.BASE.get(key, str(BY_NAME[key].default)) for key in flags}
        assert name == "base" or default != flags


@pytest.mark.parametrize("flags, message", [("--only base,none", "ingredient 'none'"), ("--seeds 1,x", "seeds '1,x'")])
def test_bad_usage(flags, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        ablation.main([str(tmp_path), *flags.split()])


@pytest.mark.slow
def test_a_run_that_fails_is_named(tmp_path):
    with pytest.raises(ReportedError, match=r"base with seed 1 ended with exit status 2; see .*output\.txt"):
        ablation.main([str(tmp_path), "--only", "base", "--seeds", "1", "--dataset", "nothing"])
    assert "--dataset: found 'nothing'" in (tmp_path / "base_1" / "output.txt").read_text()


def test_the_teacher_is_base_and_an_ingredient_that_does_nothing_is_an_error(tmp_path, monkeypatch):
    asked = []

    def no_training(command, **_) -> SimpleNamespace:
        flags = dict(flag.removeprefix("--").split("=", 1) for flag in command[2:])
        folder = Path(flags["save_ckpt_path"], "run")
        folder.mkdir()
        (folder / "0-2_1.ckpt").touch()
        loss = 1 + float(flags.get("mixup", 0))  # all other ingredients do nothing here
        (folder / "metrics.csv").write_text(f"epoch,top1,eval_loss,loss\n1,,,2\n2,0.5,{loss},{flags['seed']}\n")
        asked.append((folder.parent.name, flags.get("teacher")))
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(ablation.subprocess, "run", no_training)
    with pytest.raises(ReportedError, match=r"^teacher, nesterov: every figure is base's"):
        ablation.main([str(tmp_path), "--only", "teacher,nesterov,mixup,base", "--seeds", "7,8"])
    teachers = [str(tmp_path / f"base_{seed}" / "run" / "0-2_1.ckpt") for seed in (7, 8)]
    assert asked == [
        ("base_7", None), ("teacher_7", teachers[0]), ("nesterov_7", None), ("mixup_7", None),
        ("base_8", None), ("teacher_8", teachers[1]), ("nesterov_8", None), ("mixup_8", None),
    ]  # fmt: skip


@pytest.mark.slow
def test_the_table_is_of_the_runs(tmp_path, capsys, monkeypatch):
    random = np.random.default_rng(0)

    def step(of: TrainStep, *_) -> tuple[ms.Tensor, ...]:
        """Instead of one that has to be compiled: weights that the average does not follow."""
        weight = of.network.head.fc.weight
        overwrite(weight, random.normal(size=weight.shape).astype(np.float32))
        return ms.Tensor(1.0), ms.Tensor(True), ms.Tensor(0.5)

    def in_this_process(command, **_) -> SimpleNamespace:
        train.main(command[2:])  # each process would take the seconds of its start
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(TrainStep, "__call__", step)
    monkeypatch.setattr(ablation.subprocess, "run", in_this_process)
    argv = [str(tmp_path), "--only", "base,ema", "--seeds", "1,2", *TINY, "--eval_data_dir", "bundled"]
    found = ablation.main(argv)
    tops = {}
    for name, key in (("base", "top1"), ("ema", "ema_top1")):
        for seed in (1, 2):
            (metrics,) = (tmp_path / f"{name}_{seed}").glob("*/metrics.csv")
            tops.setdefault(name, []).append(float(list(csv.DictReader(metrics.open()))[-1][key]))
    assert {name: [one.top1 for one in runs] for name, runs in found.items()} == tops
    assert Image.open(tmp_path / "curves.png").size == (1100, 420)
    assert tops["base"] != tops["ema"] and len(set(tops["base"])) == 2
    row = capsys.readouterr().out.splitlines()[-2]
    mean, deviation = 100 * statistics.mean(tops["ema"]), 100 * statistics.stdev(tops["ema"])
    assert row.startswith(f"| ema | `--ema_decay 0.99` | {mean:.2f} ± {deviation:.2f} | ")
    assert f"| {mean - 100 * statistics.mean(tops['base']):+.2f} |" in row
    monkeypatch.setattr(ablation.subprocess, "run", lambda *_, **__: pytest.fail("it was there"))
    assert ablation.main(argv) == found
