"""What the rows share: the device, a folder, the commands on a network so small that a run takes seconds."""

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

import train
from src.utils.checkpoint import load_checkpoint
from src.utils.errors import ReportedError

ROOT = Path(__file__).resolve().parents[2]
BUNDLED = Path(__file__).parent / "bundled"
CHECKPOINT, RECORD = "digits.ckpt", "digits.json"
HELD_OUT = 355  # digits
NETWORK = ("--net", "densenet100", "--block_config", "1,1", "--growth_rate", "4", "--stem_features", "8")
TINY = (*NETWORK, "--dataset", "digits", "--image_size", "8", "--per_batch_size", "64", "--augmentation", "none")


class NotApplicableError(Exception):
    """The row is not about this device or this host; the message says why."""


def require(condition: bool, message: str) -> None:
    """Raise ReportedError, the row's failure, unless `condition` holds."""
    if not condition:
        raise ReportedError(message)


@dataclass(frozen=True)
class Context:
    """target: CPU, GPU or Ascend. devices: how many of them. folder: for everything that is written. bundled: holds the
    checkpoint and its recorded logits.
    """

    target: str
    devices: int
    folder: Path
    bundled: Path = BUNDLED

    def train(self, name: str, *flags: object) -> Path:
        """Train in this process; return the run's folder."""
        root = self.folder / name
        train.main([*TINY, "--device_target", self.target, *map(str, flags), "--save_ckpt_path", str(root)])
        return only(root)

    @cached_property
    def checkpoint(self) -> Path:
        """The bundled one, when it is the file that its record is about."""
        path = self.bundled / CHECKPOINT
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        require(digest == self.record["sha256"], f"{path} is not the bundled file: its sha256 is {digest}")
        return path

    @cached_property
    def record(self) -> dict:
        """The checkpoint's hash, and the logits of the first held-out digits in float64."""
        return json.loads((self.bundled / RECORD).read_text("utf-8"))

    def run(self, command: Sequence[object], seconds: float, environment: dict[str, str] | None = None) -> str:
        """Run a program in a new folder below `folder`; return what it says. Raises ReportedError when it fails."""
        place = self.folder / f"run{time.monotonic_ns()}"
        place.mkdir()
        try:
            done = subprocess.run(  # noqa: S603
                [*map(str, command)], cwd=place, env=os.environ | (environment or {}), capture_output=True, text=True,
                errors="replace", timeout=seconds, check=False, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise ReportedError(f"{Path(str(command[1])).name} took more than {seconds:g} s") from error
        said = f"{done.stdout}\n{done.stderr}"
        if done.returncode:
            lines = [line for line in said.splitlines() if line.strip()]
            errors = [line for line in lines if "error:" in line.lower()] or lines or ["it said nothing"]
            raise ReportedError(f"{Path(str(command[1])).name} ended with {done.returncode}: {errors[-1][:200]}")
        return said


def only(folder: Path) -> Path:
    """The one folder in `folder`."""
    found = [path for path in folder.iterdir() if path.is_dir()]
    require(len(found) == 1, f"{folder} should hold one run, found {len(found)}")
    return found[0]


def newest(run: Path) -> Path:
    """The newest numbered checkpoint of a run."""
    found = sorted(run.glob("0-*.ckpt"), key=lambda path: [*map(int, path.stem.split("-")[1].split("_"))])
    require(bool(found), f"{run} has no checkpoint")
    return found[-1]


def weights(checkpoint: Path) -> dict[str, np.ndarray]:
    """Every array in a checkpoint, by name."""
    return dict(load_checkpoint(checkpoint).arrays)


def same_bits(one: Path, other: Path) -> list[str]:
    """Names of the arrays that differ between two checkpoints."""
    first, second = weights(one), weights(other)
    return sorted(
        name
        for name in first.keys() | second.keys()
        if name not in first or name not in second or first[name].tobytes() != second[name].tobytes()
    )


def wait_for(condition: Callable[[], bool], seconds: float, still: Callable[[], bool]) -> bool:
    """Whether `condition` came to hold within that time, while `still` held."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(OSError):
            if condition():
                return True
        if not still():
            return False
        time.sleep(0.05)
    return False
