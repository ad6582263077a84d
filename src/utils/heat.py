"""Heat maps as arrays, whoever computed the features."""

import numpy as np


def heat_of(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Grad-CAM's second equation: features (B, K, h, w), a weight for each (B, K) -> heat (B, h, w) float32, from 0."""
    return np.maximum(np.einsum("bkhw,bk->bhw", features, weights), 0).astype(np.float32)
