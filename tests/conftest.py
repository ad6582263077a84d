"""One real training run that the tests of the commands look at."""

from pathlib import Path

import pytest
from commands import train_tiny


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory) -> Path:
    """The folder of two epochs on the bundled digits, evaluated after each. Not to be written to: copy it."""
    return train_tiny(tmp_path_factory.mktemp("trained"), "--eval_data_dir", "bundled", "--max_epoch", 2)
