"""A checkpoint whose probabilities mean what they say: calibrated on held-out images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from mindspore import nn

from src.training.mirrored import joined
from src.training.model_card import ModelCard
from src.utils.calibration import calibration_error, confidences, fit_temperature, is_right, mean_loss
from src.utils.checkpoint import Checkpoint, save_checkpoint
from src.utils.files import make_folder
from src.utils.multilabel import sigmoid

CALIBRATED_NAME = "calibrated.ckpt"
_NOT_KEPT = ("format", "versions", "progress", "weights")  # written anew; it is no place to go on training from


class SeenLogits:
    """Collects the logits and labels of an evaluation, 4 bytes a class, image and view."""

    def __init__(self) -> None:
        self._logits: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []

    def add(self, views: np.ndarray, labels: np.ndarray, _indices: np.ndarray) -> None:
        """Take in a batch: views (V, N, num_classes) float32, see `Answering`, labels (N,) or (N, num_classes)."""
        self._logits.append(views)
        self._labels.append(labels)

    def all(self) -> tuple[np.ndarray, np.ndarray]:
        """All logits, (views, images, num_classes), and all labels, in the order in which they came."""
        return np.concatenate(self._logits, axis=1), np.concatenate(self._labels)


def write_calibrated(checkpoint: Checkpoint, network: nn.Cell, card: ModelCard, seen: SeenLogits, folder: Path) -> str:
    """Fit a temperature, write the checkpoint that has it into `folder`, and return what to tell about it.

    network: with the weights of `checkpoint`. seen: logits that are divided by card.temperature already. Raises
    ReportedError when no temperature fits or the disk refuses.
    """
    views, labels = seen.all()
    factor = fit_temperature(views, labels, lambda logits: joined(logits, card.task))
    answers = [joined(values, card.task) for values in (views, views / factor)]
    before, after = (_measured(logits, labels) for logits in answers)
    card = replace(card, temperature=card.temperature * factor)
    kept = {key: value for key, value in checkpoint.metadata.items() if key not in _NOT_KEPT}
    how = ", for evaluations with --tta" if len(views) > 1 else ""
    path = folder / CALIBRATED_NAME
    make_folder(folder)
    save_checkpoint(path, network.get_parameters(), kept | card.to_metadata())
    return (
        f"calibrated on {len(labels)} images: temperature {card.temperature:.4f}, expected calibration error "
        f"{100 * before[0]:.2f} % -> {100 * after[0]:.2f} %, loss {before[1]:.4f} -> {after[1]:.4f}, measured on the "
        f"same images; {_changed(*answers)}, with other probabilities{how}: {path}"
    )


def _changed(before: np.ndarray, after: np.ndarray) -> str:
    """Whether answers are others, as those of two views may be: the mean of both depends on how sure each is."""
    changed = int((before.argmax(1) != after.argmax(1)).sum())
    return f"{changed} other answers" if changed else "the same answers"


def _measured(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """The expected calibration error and the mean cross entropy."""
    if labels.ndim == 2:
        known = labels >= 0
        return calibration_error(sigmoid(logits[known]), labels[known] == 1), mean_loss(logits, labels)
    return calibration_error(confidences(logits), is_right(logits, labels)), mean_loss(logits, labels)
