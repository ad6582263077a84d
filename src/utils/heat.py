"""Heat maps as arrays, whoever computed the features."""

import numpy as np

_STRENGTH = 0.6  # how much of the picture the hottest place covers


def heat_of(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Grad-CAM's second equation: features (B, K, h, w), a weight for each (B, K) -> heat (B, h, w) float32, from 0."""
    return np.maximum(np.einsum("bkhw,bk->bhw", features, weights), 0).astype(np.float32)


def overlay(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """`pixels` (H, W, 3) between 0 and 1 with `heat` (h, w), scaled to its largest value, over them; the same shape."""
    import matplotlib
    from PIL import Image

    height, width, _ = pixels.shape
    share = heat / (heat.max() or 1.0)
    smooth = np.asarray(Image.fromarray(share.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC))
    smooth = smooth.clip(0, 1)[..., None]
    colours = matplotlib.colormaps["inferno"](smooth[..., 0])[..., :3]
    return pixels + _STRENGTH * smooth * (colours - pixels)
