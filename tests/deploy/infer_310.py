"""What the tests of run_infer_310.sh share: calling it, and a trained network with its model, pictures and labels."""

import os
import shutil
import subprocess
from pathlib import Path

from commands import NETWORK, ROOT, only, write_pictures

import export
import train
from src.deploy import write_labels

SCRIPT = ROOT / "scripts/run_infer_310.sh"
TRAINING = ["--image_size", "16", "--max_epoch", "12", "--per_batch_size", "8", "--augmentation", "none"]
TRAINING += ["--lr", "0.05", "--lr_scheduler", "cosine_annealing"]
CLASSES = ("ant", "bee", "cat")  # of 12: with more than ten there is a top-5 line
ARGUMENTS = ("my model.mindir", "folder", "held out", "my labels.txt", "0")  # of the script, in `make_pictures`


def start_script(folder: Path, *arguments: str | Path, **environment: str) -> subprocess.Popen:
    inherited = {name: value for name, value in os.environ.items() if name not in ("LITE_HOME", "ASCEND_HOME_PATH")}
    command = ["bash", SCRIPT, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=folder, env=inherited | environment, text=True, **pipes)


def run_script(folder: Path, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess:
    started = start_script(folder, *arguments, **environment)
    out, err = started.communicate(timeout=500)
    return subprocess.CompletedProcess(started.args, started.returncode, out, err)


def make_pictures(folder: Path) -> None:
    """A trained network's checkpoint, its model, 60 held-out pictures and their labels, in `folder`."""
    training = unique_names(write_pictures(folder / "training", CLASSES, 60))
    for name in CLASSES:
        (folder / "held out" / name).mkdir(parents=True)
        for picture in sorted((training / name).iterdir())[::3]:
            shutil.move(picture, folder / "held out" / name / picture.name)
    flags = ["--dataset", "folder", "--num_classes", "12", *TRAINING, "--train_data_dir", str(training)]
    flags += ["--eval_data_dir", str(folder / "held out"), "--save_ckpt_path", str(folder / "run")]
    train.main([*NETWORK, *flags])
    shutil.copy(only(folder / "run") / "best.ckpt", folder / "best.ckpt")
    make_model(folder / "best.ckpt", folder / "my model", "--batch_size", "7", "--mindir_version", "1")
    write_labels.main([str(folder / "held out"), str(folder / "my labels.txt")])


def unique_names(folder: Path) -> Path:
    for picture in list(folder.glob("*/*.jpg")):
        picture.rename(picture.with_name(f"{picture.parent.name} {picture.name}"))
    return folder


def make_model(checkpoint: Path, name: Path, *flags: str) -> Path:
    return export.main(["--ckpt_file", str(checkpoint), "--file_format", "MINDIR", "--file_name", str(name), *flags])
