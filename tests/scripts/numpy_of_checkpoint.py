"""The bundled network in NumPy and float64, from the paper (tests/network/numpy_densenet.py)."""

import sys
from pathlib import Path

import numpy as np

from src.datasets.classification import evaluation_batches
from src.datasets.sources import open_source
from src.training.model_card import model_card_of
from src.utils.checkpoint import load_checkpoint

sys.path.append(str(Path(__file__).parents[1] / "network"))
from numpy_densenet import forward


def logits_of_digits(checkpoint: Path) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, 10) float64 and labels (N,) of the held-out digits."""
    found = load_checkpoint(checkpoint)
    card, source = model_card_of(found), open_source("digits", "", split="eval")
    parameters, logits, labels = dict(found.weights()), [], []
    for images, batch_labels, _ in evaluation_batches(source, card.preprocessing, batch_size=100, workers=1):
        logits.append(forward(parameters, card.architecture, images))
        labels.append(batch_labels)
    return np.concatenate(logits), np.concatenate(labels)
