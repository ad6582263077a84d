"""configs/: each recipe says where it comes from, can be run as it says, and trains with everything it switches on."""

import re
import shlex

import pytest
from commands import ROOT, only

import train
from src.model_utils.config import parse
from src.schema.yaml_file import read_yaml

RECIPES = sorted((ROOT / "configs").glob("*.yaml"))
NAMES = [path.stem for path in RECIPES]


def said(path) -> dict[str, str]:
    """What the lines above a recipe's keys say: Command, Source, Accuracy and Time."""
    return dict(re.findall(r"^# (\w+):\s+(.+)$", path.read_text("utf-8"), re.MULTILINE))


def test_there_are_recipes_for_each_purpose():
    assert {"paper_cifar10", "paper_cifar100", "paper_imagenet", "paper_svhn", "mindcv_imagenet"} <= set(NAMES)
    assert {"modern_cifar10", "modern_imagenet"} <= set(NAMES)
    assert {"finetune_under_1000", "finetune_under_10000", "radiology"} <= set(NAMES)


@pytest.mark.parametrize("path", RECIPES, ids=NAMES)
def test_it_says_what_it_is(path):
    found = said(path)
    assert set(found) == {"Command", "Source", "Accuracy", "Time"}
    assert re.search(r"published|measured", found["Accuracy"])
    assert re.search(r"\d+(\.\d+)? (h|min) on |not measured", found["Time"])
    python, script, *argv = shlex.split(found["Command"])
    assert (python, script, argv[:2]) == ("python", "train.py", ["--config_path", f"configs/{path.name}"])
    argv[1] = str(path)
    config = parse("train", argv, "")
    assert {key: getattr(config, key) for key in read_yaml(path)} == read_yaml(path)


@pytest.mark.parametrize("path", RECIPES, ids=NAMES)
@pytest.mark.parametrize("page", ["docs/recipes.md", "docs/zh/recipes.md"])
def test_the_page_lists_it(path, page):
    (row,) = re.findall(rf"^\|.*configs/{path.name}.*$", (ROOT / page).read_text("utf-8"), re.MULTILINE)
    values = read_yaml(path)
    batch = values["per_batch_size"] * values.get("grad_accumulation_steps", 1)
    assert re.search(rf"\| {values['max_epoch']}\W ?{batch} \|", row)
    accuracy = re.match(r"([\d.]+ %) top-1", said(path)["Accuracy"])
    assert (accuracy[1] in row) if accuracy else ("not measured" in row or "未测" in row)


@pytest.mark.slow
@pytest.mark.usefixtures("little_to_read")
@pytest.mark.parametrize("path", RECIPES, ids=NAMES)
def test_it_trains(path, tmp_path):
    """A smaller network, fewer epochs and other pictures, fewer too; all else as the file says."""
    smaller = ["--net", "densenet100", "--block_config", "1,1", "--growth_rate", "4", "--stem_features", "8"]
    digits = ["--dataset", "digits", "--eval_data_dir", "bundled", "--num_classes", "10"]
    size = ["--image_size", "16", "--per_batch_size", "16", "--grad_accumulation_steps", "2", "--max_epoch", "3"]
    if "progressive_size" in read_yaml(path):
        size += ["--progressive_size", "8,12,16", "--eval_image_size", "18"]
    if "train_pretrained" in read_yaml(path):  # nothing is fetched
        size += ["--train_pretrained=", "--reset_head=false", "--val_split", "0", "--task", "auto"]
        size += ["--best_metric", "auto"]
    epochs = ["--lr_epochs", "1,2", "--warmup_epochs", "1", "--save_ckpt_path", str(tmp_path)]
    train.main(["--config_path", str(path), *smaller, *digits, *size, *epochs])
    assert (only(tmp_path) / "best.ckpt").is_file()
