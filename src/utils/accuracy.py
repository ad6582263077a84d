"""The one accuracy accumulator: in-training evaluation, eval.py, ONNX and the C++ results all count with it."""

from collections.abc import Sequence

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


class Accuracy:
    """Exact counts of what was seen: top-1, top-5 and the confusion matrix.

    `confusion[t, p]` is the number of images of class t whose highest logit is that of class p.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.top5_correct = 0
        self.confusion = np.zeros((num_classes, num_classes), np.int64)

    @property
    def seen(self) -> int:
        """Number of images counted."""
        return int(self.confusion.sum())

    @property
    def top1_correct(self) -> int:
        """Number of images whose highest logit is that of their label."""
        return int(np.trace(self.confusion))

    @property
    def top1(self) -> float:
        """Top-1 accuracy as a fraction; nan when nothing was seen."""
        return self.top1_correct / self.seen if self.seen else float("nan")

    @property
    def top5(self) -> float:
        """Top-5 accuracy as a fraction; nan when nothing was seen."""
        return self.top5_correct / self.seen if self.seen else float("nan")

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
        np.add.at(self.confusion, (labels, logits.argmax(1)), 1)

    def counts(self) -> np.ndarray:
        """Everything counted as one flat int64 array, to be summed over ranks."""
        return np.concatenate([[self.top5_correct], self.confusion.ravel()]).astype(np.int64)

    def set_counts(self, counts: np.ndarray) -> None:
        """The reverse of `counts`."""
        self.top5_correct = int(counts[0])
        self.confusion = counts[1:].reshape(self.confusion.shape)

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
        correct, images, predicted = np.diag(self.confusion), self.confusion.sum(1), self.confusion.sum(0)
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
