"""Exports of one trained network that the tests look at."""

import os
import platform
import subprocess
from pathlib import Path

import pytest
from commands import ROOT, only, train_tiny
from cpp import program_folder
from infer_310 import make_pictures
from shared import made_once

import export


@pytest.fixture(scope="session")
def trained_checkpoint(tmp_path_factory) -> Path:
    """A network that tells the digits apart: what it answers proves something."""
    flags = ["--max_epoch", 12, "--per_batch_size", 64, "--augmentation", "none", "--lr_scheduler", "cosine_annealing"]
    flags += ["--eval_data_dir", "bundled"]
    return only(made_once(tmp_path_factory, "deploy", lambda folder: train_tiny(folder, *flags))) / "best.ckpt"


@pytest.fixture(scope="session")
def exported(trained_checkpoint, tmp_path_factory):
    """flags -> the model that export.py writes with them, made once."""

    def model(flags: str) -> Path:
        def make(folder: Path) -> None:
            argv = ["--ckpt_file", str(trained_checkpoint), "--file_name", str(folder / "model"), *flags.split()]
            (folder / "name").write_text(export.main(argv).name)

        folder = made_once(tmp_path_factory, "exported" + flags.replace(" ", ""), make)
        return folder / (folder / "name").read_text()

    return model


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """See `make_pictures`."""
    return made_once(tmp_path_factory, "my pictures", make_pictures)


@pytest.fixture(scope="session")
def infer_program(tmp_path_factory) -> Path:
    """The C++ program, built for this machine's CPU."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip("MindSpore Lite 2.0.0 can be fetched for x86-64 Linux only")

    def build(_: Path) -> None:
        script = ["bash", ROOT / "scripts/fetch_lite.sh"]
        home = subprocess.run(script, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        build = ["bash", ROOT / "ascend310_infer/build.sh"]
        with program_folder():
            built = subprocess.run(build, env=os.environ | {"LITE_HOME": home}, capture_output=True, text=True)
        assert built.returncode == 0, built.stdout + built.stderr

    made_once(tmp_path_factory, "infer_program", build)
    return ROOT / "ascend310_infer/out/main"
