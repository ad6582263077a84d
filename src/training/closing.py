"""The last line of a training run: how good it became, where that is, and what to do with it."""

import math
import shlex
from pathlib import Path

from src.training.best import best_epoch
from src.training.progress import Progress
from src.utils.checkpoint import BEST_NAME, EMA


def closing_line(progress: Progress, folder: Path, newest: str, metric: str = "top1") -> str:
    """For a run in `folder` that ended at `progress`. newest: the checkpoint of its end. metric: see `best_of`."""
    best = folder / BEST_NAME
    first = best_epoch(progress, metric)
    if first and best.is_file():
        which = f"epoch {first[0]}" + (" (EMA weights)" if first[1] == EMA else "")
        found, file = f"best {_shown(metric, progress.best_score)} in {which}: {best}", str(best)
    else:
        found, file = f"trained to epoch {progress.epoch}: {newest}", newest
    quoted = shlex.quote(file)
    return (
        f"{found}; next: python eval.py --ckpt_files {quoted}, or python export.py --ckpt_file {quoted} "
        "--file_format ONNX"
    )


def _shown(metric: str, score: float) -> str:
    if metric == "top1":
        return f"top-1 {100 * score:.2f} %"
    return f"held-out loss {-math.log(score):.4f}" if metric == "loss" else f"{metric} {score:.4f}"
