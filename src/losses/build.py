"""The losses for a task."""

from collections.abc import Sequence

from mindspore import nn

from src.losses.binary_cross_entropy import BinaryCrossEntropy
from src.losses.crossentropy import CrossEntropy
from src.losses.distillation import BinaryDistillationLoss, DistillationLoss


def build_loss(task: str, label_smoothing: float, class_weights: Sequence[float] = ()) -> nn.Cell:
    """Cross entropy for one class a picture (`single`), binary cross entropy for several (`multilabel`).

    class_weights: one for each class, empty for none; of several classes a picture they weigh the positive labels.
    """
    if task == "multilabel":
        return BinaryCrossEntropy(label_smoothing, class_weights)
    return CrossEntropy(label_smoothing, class_weights)


def build_distillation(task: str, temperature: float) -> nn.Cell:
    """(logits, teacher's logits) -> how much the answers to such a task differ."""
    return BinaryDistillationLoss(temperature) if task == "multilabel" else DistillationLoss(temperature)
