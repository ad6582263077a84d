"""An evaluation of the weights and, where there is one, of their average: two networks on the same pictures."""

from collections.abc import Callable, Mapping

from src.training.evaluation import Counter
from src.training.progress import EMA_PREFIX
from src.utils.checkpoint import EMA, RAW


def evaluate_both(
    evaluate: Callable[[Callable[[], bool]], Counter], average, stop_requested: Callable[[], bool]
) -> dict[str, Counter]:
    """What `evaluate` counts with the network's own weights and, unless `average` is None, with theirs.

    average: a `src.optimizers.average.WeightAverage` of the network that `evaluate` looks at.
    """
    found = {RAW: evaluate(stop_requested)}
    if average is not None:
        with average.in_place():
            found[EMA] = evaluate(stop_requested)
    return found


def figures(found: Mapping[str, Counter]) -> dict[str, object]:
    """The columns of metrics.csv."""
    prefixes = {RAW: "", EMA: EMA_PREFIX}
    return {
        prefixes[weights] + name: value
        for weights, counter in found.items()
        for name, value in counter.metrics().items()
    }


def log_lines(found: Mapping[str, Counter]) -> list[str]:
    """Those of the seed, and the same for the average."""
    suffixes = {RAW: "", EMA: " (EMA weights)"}
    return [
        line + suffixes[weights]
        for weights, counter in found.items()
        for line in (counter.loss_line(), *counter.lines())
    ]
