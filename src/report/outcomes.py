"""What a report has to know of each image, collected while an evaluation runs."""

from dataclasses import dataclass

import numpy as np

from src.training.mirrored import joined
from src.utils.calibration import confidences


@dataclass(frozen=True)
class Outcomes:
    """Of N images: indices in their data set, labels and answers (the class of the highest logit), integers;
    confidence, the probability of the answer, and plain_confidence, that without the temperature, float64. All (N,).
    """

    indices: np.ndarray
    labels: np.ndarray
    answers: np.ndarray
    confidence: np.ndarray
    plain_confidence: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """Whether the answer is the label."""
        return self.labels == self.answers


class SeenOutcomes:
    """Collects the outcomes of an evaluation, however many classes there are: 40 bytes an image.

    temperature: what the logits that come were divided by.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        self._temperature = temperature
        self._parts: list[tuple[np.ndarray, ...]] = []

    def add(self, views: np.ndarray, labels: np.ndarray, indices: np.ndarray) -> None:
        """Take in a batch: views (V, N, num_classes) float32, see `Answering`, labels and indices (N,) integers."""
        logits = joined(views)
        sure = confidences(logits)
        plain = sure if self._temperature == 1 else confidences(joined(views * self._temperature))
        self._parts.append((indices, labels, logits.argmax(1), sure, plain))

    def all(self) -> Outcomes:
        """Those of all images, in the order in which they came."""
        return Outcomes(*map(np.concatenate, zip(*self._parts, strict=True)))


def examples(outcomes: Outcomes, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Where in `outcomes` the images lie that say most: up to `count` of the most confident mistakes, surest first, and
    as many of the least confident right answers.
    """
    right = outcomes.right
    order = np.argsort(-outcomes.confidence, kind="stable")
    wrong = order[~right[order]]
    return wrong[:count], order[right[order]][::-1][:count]
