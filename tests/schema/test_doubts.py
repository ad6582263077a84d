"""What is accepted and said."""

import pytest

from src.model_utils.config import parse
from src.schema.doubts import doubts

EXPONENTIAL = "--dataset digits --lr_scheduler exponential --max_epoch 60"


@pytest.mark.parametrize(
    ("command", "flags", "said"),
    [
        ("train", f"{EXPONENTIAL} --lr_epochs 30,59", []),
        ("train", f"{EXPONENTIAL} --lr_epochs 30,60,90", ["lr_epochs [60, 90] will not be reached: max_epoch is 60"]),
        ("train", "--dataset digits --lr_scheduler cosine_annealing --max_epoch 5 --lr_epochs 9", []),
        (
            "train",
            "--dataset digits --lr_scheduler one_cycle --eta_min 0.01",
            ["lr_scheduler one_cycle does not use eta_min"],
        ),
        (
            "train",
            "--dataset digits --lr_scheduler cosine_annealing --lr_power 2",
            ["lr_scheduler cosine_annealing does not use lr_power"],
        ),
        ("train", "--dataset digits --lr_scheduler polynomial --lr_power 2 --T_max 3", []),
        (
            "train",
            "--dataset digits --freeze 2",
            ["freeze 2 without train_pretrained: random layers stay as they are"],
        ),
        ("train", "--dataset digits --freeze 2 --train_pretrained a.ckpt", []),
        ("eval", "--ckpt_files a --lr 0.2 --seed 3", ["eval.py does not use --lr", "eval.py does not use --seed"]),
        (
            "train",
            "--dataset mindrecord --train_data_dir a --uncertain ones",
            ["dataset mindrecord does not use uncertain; scripts/write_mindrecord.py takes it"],
        ),
        ("train", "--dataset folder --train_data_dir a --image_root b", ["dataset folder does not use image_root"]),
        ("train", "--dataset csv --train_data_dir a --image_root b --uncertain ones", []),
        ("eval", "--ckpt_files a --uncertain ones", []),
        (
            "eval",
            "--ckpt_files a --dataset list --eval_data_dir b --uncertain ones",
            ["dataset list does not use uncertain"],
        ),
        ("eval", "--ckpt_files a", []),
        ("export", "--ckpt_file a --lr 0.2", ["export.py does not use --lr"]),
    ],
)
def test_what_changes_nothing_is_said(command, flags, said):
    assert list(doubts(parse(command, flags.split()))) == said
