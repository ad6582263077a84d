"""From a row to what a command is given, and the one line that it should answer with."""

import shlex
from pathlib import Path

from commands import NETWORK, TINY


def fill_in(text: str, b: Path) -> str:
    """The placeholders of the rows."""
    short = {
        "{net}": " ".join([*NETWORK, "--image_size 8"]),
        "{folder}": "--dataset folder --per_batch_size 4 --train_data_dir {b}",
        "{best}": "--ckpt_files {run}/best.ckpt",
        "{x}": "--ckpt_file {run}/best.ckpt",
        "{q}": "--file_format ONNX --quantize",
        "{quantize_cats}": "--file_format ONNX --quantize --ckpt_file {b}/cats.ckpt --dataset folder --train_data_dir",
        "{model}": "--model {run}/best.ckpt",
        "{onnx}": "--ckpt_files {m}/good.onnx",
        "{cats}": "--ckpt_files {b}/cats.ckpt",
        "{held_out}": "--dataset folder --eval_data_dir",
        "{csv}": "--dataset csv --per_batch_size 2 --train_data_dir {b}/good",
        "{shards}": "--dataset mindrecord --per_batch_size 2 --train_data_dir",
        "{cifar}": "--dataset cifar10 --train_data_dir",
        "{list}": "--dataset list --per_batch_size 1 --train_data_dir {b}/good",
        "{lists}": "--dataset list --eval_data_dir {b}/good/two.txt",
        "{dogs}": "--dataset folder --eval_data_dir {b}/good",
        "{long}": "x" * 300,
        "{run}": "{b}/run",
        "{c}": "{b}/ckpt",
        "{m}": "{b}/models",
        "{b}": str(b),
    }
    for placeholder, replacement in short.items():
        text = text.replace(placeholder, replacement)
    return text


def command_line(command: str, flags: str, b: Path, output: Path) -> list[str]:
    argv = shlex.split(fill_in(flags, b), posix=False)
    flag = "--file_name" if command == "export" else "--save_ckpt_path"
    if flag not in argv and command != "predict":
        argv += [flag, str(output)]
    return [*TINY, *argv] if command == "train" and "--resume" not in argv else argv


def assert_one_line(stderr: str, fragment: str) -> None:
    lines = stderr.splitlines()
    assert len(lines) == 1, stderr
    assert lines[0].startswith("error: ")
    assert fragment in lines[0]
    assert len(lines[0]) < 1200
