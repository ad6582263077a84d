"""Batches of one length."""

import numpy as np


def padded(images: np.ndarray, batch_size: int) -> np.ndarray:
    """`images` (B, ...), with zeros behind them if B is below batch_size."""
    missing = batch_size - len(images)
    return np.concatenate([images, np.zeros((missing, *images.shape[1:]), images.dtype)]) if missing > 0 else images
