"""Which checkpoint a file is, by its name alone: for the launcher too, which does without MindSpore."""

import re
from pathlib import Path

_NAME = re.compile(r"(?P<rank>\d+)-(?P<epoch>\d+)_(?P<step>\d+)\.ckpt")


def checkpoint_name(rank: int, epoch: int, step: int) -> str:
    """`RANK-EPOCH_STEP.ckpt`: the epoch counts from 1, the step within it is the number of steps done."""
    return f"{rank}-{epoch}_{step}.ckpt"


def list_checkpoints(folder: Path, rank: int = 0) -> list[Path]:
    """The checkpoints `RANK-EPOCH_STEP.ckpt` of one rank directly in `folder`, newest position first."""
    found = []
    for path in folder.glob("*.ckpt"):
        name = _NAME.fullmatch(path.name)
        if name and int(name["rank"]) == rank and path.is_file():
            found.append((int(name["epoch"]), int(name["step"]), path))
    return [path for _, _, path in sorted(found, reverse=True)]


def ranks_in(folder: Path) -> list[int]:
    """The ranks that have such a file in `folder`."""
    return sorted({int(name["rank"]) for p in folder.glob("*.ckpt") if (name := _NAME.fullmatch(p.name))})
