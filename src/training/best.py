"""Which evaluation of a run is its best, by a figure of one's choice."""

import math
from collections.abc import Mapping

from src.training.progress import EMA_PREFIX, Progress
from src.utils.checkpoint import EMA, RAW, RUN_CONFIG, Checkpoint
from src.utils.errors import UsageError

BEST_METRICS = {
    "single": ("top1", "balanced_accuracy", "macro_f1", "loss"),
    "multilabel": ("auroc", "macro_f1", "loss"),
}


def resolve_best_metric(wanted: str, task: str) -> str:
    """`auto` is the first of the task's. Raises UsageError for a figure that the task's evaluations do not have."""
    known = BEST_METRICS[task]
    if wanted == "auto":
        return known[0]
    if wanted not in known:
        advice = "; give --task multilabel for a yes or no to each class" if wanted == "auroc" else ""
        kind = "several labels" if task == "multilabel" else "one label"
        raise UsageError(f"best_metric is {wanted}, but data with {kind} a picture have {', '.join(known)}{advice}")
    return wanted


def score_of(metric: str, figures: Mapping[str, object], weights: str = RAW) -> float:
    """What is to be as large as possible, between 0 and 1: the figure itself, and of a loss exp(-loss); nan for none.

    figures: by the columns of metrics.csv. weights: whose, raw or ema.
    """
    name = "eval_loss" if metric == "loss" else metric
    value = figures[name] if weights == RAW else figures.get(EMA_PREFIX + name, "")
    if value == "":
        return float("nan")
    return math.exp(-value) if metric == "loss" else value


def best_of(metric: str, figures: Mapping[str, object]) -> tuple[float, str]:
    """The better score of an evaluation, and which weights have it: of equal ones the raw ones, which are simpler."""
    raw, ema = (score_of(metric, figures, weights) for weights in (RAW, EMA))
    return (ema, EMA) if ema > raw or (math.isnan(raw) and not math.isnan(ema)) else (raw, RAW)


def best_epoch(progress: Progress, metric: str) -> tuple[int, str] | None:
    """The epoch whose evaluation is kept as best.ckpt, and which weights; None when none is."""
    for row in progress.history:
        if row["epoch"] > progress.best_after:
            score, weights = best_of(metric, row)
            if score == progress.best_score:
                return row["epoch"], weights
    return None


def is_new_metric(checkpoint: Checkpoint | None, metric: str, task: str) -> bool:
    """Whether the run of `checkpoint` has chosen its best by another figure than `metric` until now."""
    if checkpoint is None:
        return False
    recipe = checkpoint.metadata.get(RUN_CONFIG)
    before = recipe.get("best_metric", "auto") if isinstance(recipe, Mapping) else "auto"
    return (BEST_METRICS[task][0] if before == "auto" else before) != metric
