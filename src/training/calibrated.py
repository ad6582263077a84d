"""A checkpoint whose probabilities mean what they say: calibrated on held-out images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from mindspore import nn

from src.training.model_card import ModelCard
from src.utils.calibration import calibration_error, confidences, fit_temperature, is_right, mean_loss
from src.utils.checkpoint import Checkpoint, save_checkpoint
from src.utils.files import make_folder
from src.utils.multilabel import sigmoid

CALIBRATED_NAME = "calibrated.ckpt"
_NOT_KEPT = ("format", "versions", "progress", "weights")  # written anew; it is no place to go on training from


class SeenLogits:
    """Collects the logits and labels of an evaluation, 4 bytes a class and image."""

    def __init__(self) -> None:
        self._logits: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []

    def add(self, logits: np.ndarray, labels: np.ndarray, _indices: np.ndarray) -> None:
        """Take in a batch: logits (N, num_classes) float32, labels (N,) or (N, num_classes) integers."""
        self._logits.append(logits)
        self._labels.append(labels)

    def all(self) -> tuple[np.ndarray, np.ndarray]:
        """All logits, (images, num_classes), and all labels, in the order in which they came."""
        return np.concatenate(self._logits), np.concatenate(self._labels)


def write_calibrated(checkpoint: Checkpoint, network: nn.Cell, card: ModelCard, seen: SeenLogits, folder: Path) -> str:
    """Fit a temperature, write the checkpoint that has it into `folder`, and return what to tell about it.

    network: with the weights of `checkpoint`. seen: logits that are divided by card.temperature already. Raises
    ReportedError when no temperature fits or the disk refuses.
    """
    logits, labels = seen.all()
    factor = fit_temperature(logits, labels)
    before, after = (_measured(values, labels) for values in (logits, logits / factor))
    card = replace(card, temperature=card.temperature * factor)
    kept = {key: value for key, value in checkpoint.metadata.items() if key not in _NOT_KEPT}
    path = folder / CALIBRATED_NAME
    make_folder(folder)
    save_checkpoint(path, network.get_parameters(), kept | card.to_metadata())
    return (
        f"calibrated on {len(labels)} images: temperature {card.temperature:.4f}, expected calibration error "
        f"{100 * before[0]:.2f} % -> {100 * after[0]:.2f} %, loss {before[1]:.4f} -> {after[1]:.4f}, measured on the "
        f"same images; the same answers, with other probabilities: {path}"
    )


def _measured(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """The expected calibration error and the mean cross entropy."""
    if labels.ndim == 2:
        known = labels >= 0
        return calibration_error(sigmoid(logits[known]), labels[known] == 1), mean_loss(logits, labels)
    return calibration_error(confidences(logits), is_right(logits, labels)), mean_loss(logits, labels)
