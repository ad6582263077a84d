"""What the workers of one test session make once together: trained networks, exports, programs."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder `name` of this session, which `make` has filled: by the first worker that asks, the others wait.

    When `make` fails the next one tries again. Nobody may write to the folder afterwards.
    """
    root = factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root  # a worker's is below the session's
    folder, done = root / name, root / f"{name}.done"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            folder = folder if not folder.exists() else factory.mktemp(name)
            folder.mkdir(exist_ok=True)
            make(folder)
            done.write_text(str(folder))
    return Path(done.read_text())
