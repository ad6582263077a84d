"""The device, the C++ kernels, and one real training run that the tests of the commands look at."""

from pathlib import Path

import pytest
from commands import train_tiny

from src.model_utils.device_adapter import set_up_device
from src.ops.build import kernels


@pytest.fixture(scope="session", autouse=True)
def cpu() -> None:
    """MindSpore takes its device before the first operator only: once for all tests, in whatever order they run."""
    set_up_device("CPU", 0, deterministic=True)


@pytest.fixture(scope="session", autouse=True)
def compiled_kernels() -> None:
    """All tests share the user's cache of them, so they are compiled once, and not while a test counts seconds."""
    kernels()


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory) -> Path:
    """The folder of two epochs on the bundled digits, evaluated after each. Not to be written to: copy it."""
    return train_tiny(tmp_path_factory.mktemp("trained"), "--eval_data_dir", "bundled", "--max_epoch", 2)
