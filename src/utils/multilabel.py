"""The scores of networks with a yes or no for each class, counted as `Accuracy` counts those with one answer."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from src.utils.accuracy import check_finite
from src.utils.errors import ReportedError
from src.utils.ranking import auroc, average_precision, best_threshold, f1


def binary_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """-log of the probability of what each label says, float64 (N, K); nan where it is unknown."""
    x = logits.astype(np.float64)
    loss = np.maximum(x, 0) - x * (labels == 1) + np.log1p(np.exp(-np.abs(x)))
    return np.where(labels >= 0, loss, np.nan)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """The probability of a yes, float64, without an overflow."""
    return 0.5 * (1 + np.tanh(0.5 * logits.astype(np.float64)))


class MultilabelScores:
    """All logits and labels of an evaluation, from which its figures are computed at the end: merged over ranks
    they are those of one rank that saw every picture. Unknown labels count nowhere.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self._logits: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []
        self._figures: dict | None = None

    def update(self, logits: np.ndarray, labels: np.ndarray) -> None:
        """Take in a batch: logits (N, K) floats; labels (N, K), 1 for yes, 0 for no, -1 for unknown.

        Raises ReportedError when a logit is not finite.
        """
        if logits.shape != labels.shape or logits.shape[1:] != (self.num_classes,):
            raise ValueError(f"logits {logits.shape} and labels {labels.shape} should be (N, {self.num_classes})")
        check_finite(logits)
        if len(labels) and not -1 <= labels.min() <= labels.max() <= 1:
            raise ReportedError("a label of several classes is neither 1, 0 nor -1; use labels of that form")
        self._logits.append(logits.astype(np.float32))
        self._labels.append(labels.astype(np.int8))
        self._figures = None

    def merge(self, gather: Callable[[np.ndarray], np.ndarray]) -> None:
        """Take over what all ranks have seen; gather: non-negative int64 (n, k) -> the rows of all ranks."""
        bits = self.logits.view(np.uint32).astype(np.int64)
        rows = gather(np.concatenate([bits, self.labels.astype(np.int64) + 1], axis=1))
        self._logits = [rows[:, : self.num_classes].astype(np.uint32).view(np.float32)]
        self._labels = [(rows[:, self.num_classes :] - 1).astype(np.int8)]
        self._figures = None

    @property
    def logits(self) -> np.ndarray:
        """(n, K) float32, not to be changed."""
        if len(self._logits) != 1:  # joined once, however often they are asked for
            self._logits = [np.concatenate([np.zeros((0, self.num_classes), np.float32), *self._logits])]
        return self._logits[0]

    @property
    def labels(self) -> np.ndarray:
        """(n, K) int8, not to be changed."""
        if len(self._labels) != 1:
            self._labels = [np.concatenate([np.zeros((0, self.num_classes), np.int8), *self._labels])]
        return self._labels[0]

    @property
    def seen(self) -> int:
        """Number of images counted."""
        return sum(map(len, self._labels))

    @property
    def loss(self) -> float:
        """Mean binary cross entropy over all known labels; nan when there are none."""
        known = [float(value) for value in self.figures()["losses"]]
        return math.fsum(known) / len(known) if known else float("nan")

    @property
    def auroc(self) -> float:
        """Mean over the classes that have known positives and negatives."""
        return self._mean("auroc")

    @property
    def average_precision(self) -> float:
        """Mean over the classes that have positives."""
        return self._mean("average_precision")

    @property
    def f1(self) -> float:
        """Mean over the classes that have positives, at the probability 0.5."""
        return self._mean("f1")

    @property
    def best_f1(self) -> float:
        """The same at each class's own threshold, which was fitted on these very pictures."""
        return self._mean("best_f1")

    def figures(self) -> dict[str, np.ndarray]:
        """Of each class, (K,) each: images (known), positives, auroc, average_precision, f1, threshold, best_f1.

        threshold is a probability; nan where there is no positive. And losses, of every known label.
        """
        if self._figures is None:
            self._figures = self._compute(self.logits, self.labels)
        return self._figures

    def _compute(self, logits: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
        rows = []
        for scores, label in zip(logits.T, labels.T, strict=True):
            scores, positive = scores[label >= 0], label[label >= 0] == 1
            cut = best_threshold(scores, positive)
            has_positive = bool(positive.any())
            rows.append(
                {
                    "images": len(positive),
                    "positives": int(positive.sum()),
                    "auroc": auroc(scores, positive),
                    "average_precision": average_precision(scores, positive),
                    "f1": f1(scores >= 0, positive) if has_positive else float("nan"),
                    "threshold": 1 / (1 + math.exp(-max(min(cut, 700), -700))) if has_positive else float("nan"),
                    "best_f1": f1(scores >= cut, positive) if has_positive else float("nan"),
                }
            )
        found = {key: np.array([row[key] for row in rows]) for key in rows[0]}
        losses = binary_cross_entropy(logits, labels)
        return {**found, "losses": losses[labels >= 0]}

    def _mean(self, key: str) -> float:
        values = self.figures()[key]
        values = values[~np.isnan(values)]
        return float(values.mean()) if len(values) else float("nan")

    def metrics(self) -> dict[str, float]:
        """The figures by the names of the columns of metrics.csv."""
        return {
            "eval_loss": self.loss,
            "macro_f1": self.f1,
            "auroc": self.auroc,
            "average_precision": self.average_precision,
        }

    def loss_line(self) -> str:
        """The mean loss, for the log, and what fitted thresholds would give."""
        return f"eval loss:{self.loss:.4f} over {self.seen} images; f1 at thresholds fitted on them: {self.best_f1:.4f}"

    def lines(self) -> list[str]:
        """The result in the form of the seed's evaluation log."""
        return [
            f"after allreduce eval: auroc={self.auroc:.4f}, ap={self.average_precision:.4f}, f1={self.f1:.4f}, "
            f"tot={self.seen}"
        ]

    def per_class(self, class_names: Sequence[str]) -> list[dict]:
        """One row a class; see `figures`."""
        found = self.figures()
        keys = [key for key in found if key != "losses"]
        return [{"class": name, **{key: found[key][i].item() for key in keys}} for i, name in enumerate(class_names)]
