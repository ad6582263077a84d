"""From logits to the answer that people read."""

from collections.abc import Iterator

import numpy as np

from src.utils.accuracy import check_finite
from src.utils.multilabel import sigmoid


def probabilities_of(logits: np.ndarray, task: str = "single") -> np.ndarray:
    """Of logits (N, C), float64: the softmax of one answer, or with the task `multilabel` the sigmoid of each."""
    if task == "multilabel":
        return sigmoid(logits)
    exponentials = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def best_classes(logits: np.ndarray, count: int, task: str = "single") -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each row of logits (N, C): its `count` most probable classes, best first, and their probabilities: of one
    answer, or with the task `multilabel` of a yes to each.

    Raises ReportedError when a logit is not finite.
    """
    check_finite(logits)
    probabilities = probabilities_of(logits, task)
    for row, best in zip(probabilities, np.argsort(-logits, axis=1, kind="stable")[:, :count], strict=True):
        yield best, row[best]
