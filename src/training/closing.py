"""The last line of a training run: how good it became, where that is, and what to do with it."""

import shlex
from pathlib import Path

from src.training.progress import Progress
from src.utils.checkpoint import BEST_NAME


def closing_line(progress: Progress, folder: Path, newest: str) -> str:
    """For a run in `folder` that ended at `progress`. newest: the checkpoint of its end."""
    best = folder / BEST_NAME
    comparable = (row for row in progress.history if row["epoch"] > progress.best_after)
    epochs = [row["epoch"] for row in comparable if row["top1"] == progress.best_top1]
    if epochs and best.is_file():
        found, file = f"best top-1 {100 * progress.best_top1:.2f} % in epoch {epochs[0]}: {best}", str(best)
    else:
        found, file = f"trained to epoch {progress.epoch}: {newest}", newest
    quoted = shlex.quote(file)
    return (
        f"{found}; next: python eval.py --ckpt_files {quoted}, or python export.py --ckpt_file {quoted} "
        "--file_format ONNX"
    )
