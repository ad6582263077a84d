"""What a report has to know of each image, collected while an evaluation runs."""

import numpy as np

from src.utils.calibration import confidences


class Outcomes:
    """Collects label, answer and confidence of every image: 24 bytes each, however many classes.

    temperature: what the logits that come were divided by; the confidences without it are collected too.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        self._temperature = temperature
        self._parts: list[tuple[np.ndarray, ...]] = []

    def add(self, logits: np.ndarray, labels: np.ndarray, indices: np.ndarray) -> None:
        """Take in a batch: logits (N, num_classes) float32, labels and indices (N,) integers."""
        sure = confidences(logits)
        plain = sure if self._temperature == 1 else confidences(logits * self._temperature)
        self._parts.append((indices, labels, logits.argmax(1), sure, plain))

    def _all(self, place: int) -> np.ndarray:
        return np.concatenate([part[place] for part in self._parts])

    @property
    def indices(self) -> np.ndarray:
        """Of the images in their data set, (N,)."""
        return self._all(0)

    @property
    def labels(self) -> np.ndarray:
        """(N,) integers."""
        return self._all(1)

    @property
    def answers(self) -> np.ndarray:
        """The class of the highest logit, (N,) integers."""
        return self._all(2)

    @property
    def confidence(self) -> np.ndarray:
        """The probability of the answer, (N,) float64."""
        return self._all(3)

    @property
    def plain_confidence(self) -> np.ndarray:
        """The same without the temperature."""
        return self._all(4)


def examples(outcomes: Outcomes, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Where in `outcomes` the images lie that say most: up to `count` of the most confident mistakes, surest first, and
    as many of the least confident right answers.
    """
    right = outcomes.labels == outcomes.answers
    order = np.argsort(-outcomes.confidence, kind="stable")
    wrong = order[~right[order]]
    return wrong[:count], order[right[order]][::-1][:count]
