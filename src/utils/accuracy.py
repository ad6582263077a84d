"""The one accuracy accumulator: in-training evaluation, eval.py, ONNX and the C++ results all count with it."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from src.utils.errors import ReportedError

TOP5_MIN_CLASSES = 11  # with ten classes or fewer a top-5 accuracy says nothing and is not printed


def check_finite(logits: np.ndarray) -> None:
    """Raise ReportedError when a logit is not finite: then there is no answer to count, show or compare."""
    if not np.isfinite(logits).all():
        raise ReportedError(
            "the network's output holds values that are not finite, so its answers cannot be counted; "
            "the weights come from a training that diverged, or the precision is too low"
        )


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """-log softmax(logits)[label] of each row, (N,) float64: without label smoothing, whatever the training's loss."""
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    return np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels]


class Accuracy:
    """Exact counts of what was seen: top-1, top-5 and the confusion matrix; and the sum of the images' cross entropy.

    The matrix is kept by its cells that are not empty, of which there are no more than images.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.top5_correct = 0
        self.loss_sum = 0.0
        self._cells = np.zeros((0, 3), np.int64)
        self._new: list[np.ndarray] = []  # rows like those of `cells`, in the order in which they came
        self._new_rows = 0

    @property
    def cells(self) -> np.ndarray:
        """The confusion matrix, int64 (n, 3): true class, class of the highest logit, number of such images; sorted."""
        if self._new:
            self._merge()
        return self._cells

    @property
    def confusion(self) -> np.ndarray:
        """`confusion[t, p]`, int64: the whole matrix, which takes memory for the square of the classes."""
        matrix = np.zeros((self.num_classes, self.num_classes), np.int64)
        matrix[self.cells[:, 0], self.cells[:, 1]] = self.cells[:, 2]
        return matrix

    @property
    def seen(self) -> int:
        """Number of images counted."""
        return int(self.cells[:, 2].sum())

    @property
    def top1_correct(self) -> int:
        """Number of images whose highest logit is that of their label."""
        return int(self._right()[:, 2].sum())

    @property
    def top1(self) -> float:
        """Top-1 accuracy as a fraction; nan when nothing was seen."""
        return self.top1_correct / self.seen if self.seen else float("nan")

    @property
    def top5(self) -> float:
        """Top-5 accuracy as a fraction; nan when nothing was seen."""
        return self.top5_correct / self.seen if self.seen else float("nan")

    @property
    def loss(self) -> float:
        """Mean cross entropy of the images; nan when nothing was seen."""
        return self.loss_sum / self.seen if self.seen else float("nan")

    def update(self, logits: np.ndarray, labels: np.ndarray) -> None:
        """Count one batch of real images, padding already cut away.

        Args:
            logits: (N, num_classes) floats.
            labels: (N,) integers in [0, num_classes).

        Of equal logits the lower class number ranks first, as in numpy.argmax. Raises ReportedError when a logit is
        not finite or a label is out of range: neither has an answer to count.
        """
        if logits.shape != (len(labels), self.num_classes):
            raise ValueError(f"logits have shape {logits.shape}, expected {(len(labels), self.num_classes)}")
        check_finite(logits)
        if len(labels) and not 0 <= labels.min() <= labels.max() < self.num_classes:
            raise ReportedError(
                f"a label is {labels.max()} where the network has {self.num_classes} classes; "
                f"labels must lie in 0..{self.num_classes - 1}"
            )
        own = logits[np.arange(len(labels)), labels][:, None]
        lower_class = np.arange(self.num_classes) < labels[:, None]
        rank = ((logits > own) | ((logits == own) & lower_class)).sum(1)
        self.top5_correct += int((rank < 5).sum())
        self.loss_sum += float(cross_entropy(logits, labels).sum())
        labels = np.asarray(labels, np.int64)
        self._add(np.stack([labels, logits.argmax(1), np.ones_like(labels)], axis=1))

    def counts(self) -> np.ndarray:
        """Everything counted, int64 (n, 3): the cells, and a last row for the top-5; to be gathered from all ranks."""
        return np.concatenate([self.cells, [[self.num_classes, 0, self.top5_correct]]])

    def set_counts(self, counts: np.ndarray) -> None:
        """Take over what the `counts` of one or, one after another, of several accumulators say together."""
        is_top5 = counts[:, 0] == self.num_classes
        self.top5_correct = int(counts[is_top5, 2].sum())
        self._cells, self._new, self._new_rows = self._cells[:0], [], 0
        self._add(counts[~is_top5])

    def merge(self, gather: Callable[[np.ndarray], np.ndarray]) -> None:
        """Take over what all ranks have counted; gather: non-negative int64 (n, k) -> the rows of all ranks.

        The sum of the losses travels as two integers of 32 bits; it has the same bits on every rank.
        """
        self.set_counts(gather(self.counts()))
        bits = np.array([[self.loss_sum]], "<f8").view("<u4").astype(np.int64)
        self.loss_sum = math.fsum(gather(bits).astype("<u4").view("<f8").ravel())

    def _add(self, rows: np.ndarray) -> None:
        self._new.append(rows)
        self._new_rows += len(rows)
        if self._new_rows > max(2**16, len(self._cells)):  # seldom enough to cost nothing, often enough for the memory
            self._merge()

    def _merge(self) -> None:
        cells = np.concatenate([self._cells, *self._new])
        places, inverse = np.unique(cells[:, 0] * self.num_classes + cells[:, 1], return_inverse=True)
        totals = np.zeros(len(places), np.int64)
        np.add.at(totals, inverse, cells[:, 2])
        self._cells = np.stack([*np.divmod(places, self.num_classes), totals], axis=1)
        self._new, self._new_rows = [], 0

    def _right(self) -> np.ndarray:
        return self.cells[self.cells[:, 0] == self.cells[:, 1]]

    def _per_class(self, cells: np.ndarray, column: int) -> np.ndarray:
        totals = np.zeros(self.num_classes, np.int64)
        np.add.at(totals, cells[:, column], cells[:, 2])
        return totals

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall over the classes of which there were images; nan when nothing was seen."""
        correct, images = self._per_class(self._right(), 0), self._per_class(self.cells, 0)
        return float((correct[images > 0] / images[images > 0]).mean()) if self.seen else float("nan")

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the classes that were there or answered; nan when nothing was seen."""
        correct = self._per_class(self._right(), 0)
        either = self._per_class(self.cells, 0) + self._per_class(self.cells, 1)
        return float((2 * correct[either > 0] / either[either > 0]).mean()) if self.seen else float("nan")

    def metrics(self) -> dict[str, float | str]:
        """The figures by the names of the columns of metrics.csv; an empty top5 with few classes."""
        return {
            "top1": self.top1,
            "top5": self.top5 if self.num_classes >= TOP5_MIN_CLASSES else "",
            "eval_loss": self.loss,
            "balanced_accuracy": self.balanced_accuracy,
            "macro_f1": self.macro_f1,
        }

    def loss_line(self) -> str:
        """The mean cross entropy, for the log; the lines that begin as the seed's are `lines`."""
        return f"eval loss:{self.loss:.4f} over {self.seen} images"

    def lines(self) -> list[str]:
        """The result in the form of the seed's evaluation log, top-5 only for more than ten classes."""
        found = [("top1", self.top1_correct)]
        if self.num_classes >= TOP5_MIN_CLASSES:
            found.append(("top5", self.top5_correct))
        tot = self.seen
        return [
            f"after allreduce eval: {name}_correct={correct}, tot={tot}, acc={100 * correct / max(tot, 1):.2f}%"
            for name, correct in found
        ]

    def per_class(self, class_names: Sequence[str]) -> list[dict]:
        """One row a class: images, correct, recall (its accuracy), precision and F1; nan where undefined."""
        correct = self._per_class(self._right(), 0)
        images, predicted = self._per_class(self.cells, 0), self._per_class(self.cells, 1)
        with np.errstate(invalid="ignore"):
            recall, precision, f1 = correct / images, correct / predicted, 2 * correct / (images + predicted)
        return [
            {
                "class": name,
                "images": int(images[i]),
                "correct": int(correct[i]),
                "recall": float(recall[i]),
                "precision": float(precision[i]),
                "f1": float(f1[i]),
            }
            for i, name in enumerate(class_names)
        ]
