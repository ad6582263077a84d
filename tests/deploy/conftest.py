"""Exports of one trained network that the tests look at."""

import os
import platform
import subprocess
from pathlib import Path

import pytest
from commands import ROOT, train_tiny

import export


@pytest.fixture(scope="session")
def trained_checkpoint(tmp_path_factory) -> Path:
    """A network that tells the digits apart: what it answers proves something."""
    folder = tmp_path_factory.mktemp("deploy")
    flags = ["--max_epoch", 12, "--per_batch_size", 64, "--augmentation", "none", "--lr_scheduler", "cosine_annealing"]
    return train_tiny(folder, *flags, "--eval_data_dir", "bundled") / "best.ckpt"


@pytest.fixture(scope="session")
def exported(trained_checkpoint, tmp_path_factory):
    """flags -> the model that export.py writes with them, made once."""
    made = {}

    def model(flags: str) -> Path:
        if flags not in made:
            name = tmp_path_factory.mktemp("exported") / "model"
            made[flags] = export.main(
                ["--ckpt_file", str(trained_checkpoint), "--file_name", str(name), *flags.split()]
            )
        return made[flags]

    return model


@pytest.fixture(scope="session")
def infer_program() -> Path:
    """The C++ program, built for this machine's CPU."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip("MindSpore Lite 2.0.0 can be fetched for x86-64 Linux only")
    home = subprocess.run(["bash", ROOT / "scripts/fetch_lite.sh"], check=True, stdout=subprocess.PIPE, text=True)
    build = ["bash", ROOT / "ascend310_infer/build.sh"]
    built = subprocess.run(build, env=os.environ | {"LITE_HOME": home.stdout.strip()}, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return ROOT / "ascend310_infer/out/main"
