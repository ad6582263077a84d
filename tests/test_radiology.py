"""docs/data.md's commands for ChestX-ray14 and CheXpert, on tiny sets of that form and with a small network."""

import re
import subprocess
from pathlib import Path

import pytest
from commands import NETWORK, ROOT, only
from documents import commands, prose
from radiology_sets import CHEST_XRAY14, CHEXPERT, write_chest_xray14, write_chexpert

import eval as evaluation
import train
from src.training.model_card import ModelCard, model_card_of
from src.utils.checkpoint import load_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_steps", "no_answers")]

PAGE = "docs/data.md"
SMALL = [*NETWORK, "--image_size", "16", "--per_batch_size", "8", "--max_epoch", "1"]
SMALL += ["--train_pretrained=", "--reset_head=false"]  # nothing is fetched


def trained(part: str, root: Path, output: Path) -> tuple[ModelCard, Path, str]:
    """What the page's command that speaks of `part` has trained, DIR being `root`, its best checkpoint, and its log."""
    (found,) = [command for command in commands(PAGE) if part in command.line]
    python, script, key, config, *flags = found.words()
    assert (python, script, key) == ("python", "train.py", "--config_path")
    flags = [flag.replace("DIR", str(root)) for flag in flags]
    train.main([key, str(ROOT / config), *flags, *SMALL, "--save_ckpt_path", str(output)])
    best = only(output) / "best.ckpt"
    return model_card_of(load_checkpoint(best)), best, (only(output) / "train.log").read_text()


def evaluated(best: Path, output: Path, *flags: str) -> int:
    """Of how many pictures eval.py speaks."""
    (scores,) = evaluation.main(["--ckpt_files", str(best), *flags, "--save_ckpt_path", str(output)]).values()
    assert scores.auroc == 0.5  # of equal answers
    return scores.seen


def test_chest_xray14(tmp_path):
    root = write_chest_xray14(tmp_path, 64).parent
    card, best, log = trained("Data_Entry_2017.csv", root, tmp_path / "out")
    assert (card.class_names, card.task, card.architecture.input_channels) == (CHEST_XRAY14, "multilabel", 1)
    held_out = int(re.search(r"held out (\d+) of 64 pictures .* and 32 groups stay on one side", log)[1])
    assert held_out % 2 == 0 and 4 <= held_out <= 10
    assert evaluated(best, tmp_path / "own") == held_out
    for line in re.findall(r"`(\(?(?:head|grep) [^`]*\.csv)`", prose(PAGE)):
        subprocess.run(["bash", "-c", line], cwd=root, check=True, timeout=10)
    assert [len((root / f"{part}.csv").read_text().splitlines()) for part in ("train", "test")] == [49, 17]
    assert evaluated(best, tmp_path / "test", "--eval_data_dir", str(root / "test.csv")) == 16


def test_chexpert(tmp_path):
    write_chexpert(tmp_path, 32)
    card, best, log = trained("CheXpert", tmp_path, tmp_path / "out")
    assert (card.class_names, card.task, card.preprocessing.resize_mode) == (CHEXPERT, "multilabel", "letterbox")
    assert "none of the 8 held-out pictures is a training picture too" in log and "groups have" not in log
    assert "1 classes that no picture is known not to show: 'No Finding'" in log
    assert evaluated(best, tmp_path / "own") == 8
