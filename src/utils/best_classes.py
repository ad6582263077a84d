"""From logits to the answer that people read."""

from collections.abc import Iterator

import numpy as np

from src.utils.accuracy import check_finite
from src.utils.multilabel import sigmoid


def best_classes(logits: np.ndarray, count: int, task: str = "single") -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each row of logits (N, C): its `count` most probable classes, best first, and their probabilities: of one
    answer, or with the task `multilabel` of a yes to each.

    Raises ReportedError when a logit is not finite.
    """
    check_finite(logits)
    if task == "multilabel":
        probabilities = sigmoid(logits)
    else:
        exponentials = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
        probabilities = exponentials / exponentials.sum(1, keepdims=True)
    for row, best in zip(probabilities, np.argsort(-logits, axis=1, kind="stable")[:, :count], strict=True):
        yield best, row[best]
