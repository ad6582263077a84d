"""The files of a run by their names alone: for the launcher too, which does without MindSpore."""

import re
from pathlib import Path

from src.utils.errors import ReportedError
from src.utils.files import NO_SUCH_FILE, is_folder

CONFIG_NAME = "config.yaml"  # the resolved configuration; a folder that holds one is a run's
_NAME = re.compile(r"(?P<rank>\d{1,9})-(?P<epoch>\d{1,18})_(?P<step>\d{1,18})\.ckpt")


def checkpoint_name(rank: int, epoch: int, step: int) -> str:
    """`RANK-EPOCH_STEP.ckpt`: the epoch counts from 1, the step within it is the number of steps done."""
    return f"{rank}-{epoch}_{step}.ckpt"


def list_checkpoints(folder: Path, rank: int = 0) -> list[Path]:
    """The checkpoints `RANK-EPOCH_STEP.ckpt` of one rank directly in `folder`, newest position first.

    Raises ReportedError when the folder cannot be listed.
    """
    found = [
        (int(name["epoch"]), int(name["step"]), folder / name[0])
        for name in _names(folder)
        if int(name["rank"]) == rank and not is_folder(folder / name[0])
    ]
    return [path for _, _, path in sorted(found, reverse=True)]


def ranks_in(folder: Path) -> list[int]:
    """The ranks that have such a file in `folder`. Raises ReportedError when it cannot be listed."""
    return sorted({int(name["rank"]) for name in _names(folder)})


def _names(folder: Path) -> list[re.Match]:
    try:
        return [found for path in folder.iterdir() if (found := _NAME.fullmatch(path.name))]
    except OSError as error:
        if error.errno in NO_SUCH_FILE:
            return []
        raise ReportedError(f"{folder} cannot be read: {error.strerror}; try again when it can be read") from error
