"""Whether a network is as sure as it is right, and the one number that mends it (Guo et al. 2017, arXiv:1706.04599)."""

import math
from collections.abc import Callable

import numpy as np

from src.utils.accuracy import cross_entropy
from src.utils.errors import ReportedError
from src.utils.multilabel import binary_cross_entropy

BINS = 15  # as in the paper
_LOWEST, _HIGHEST = 0.05, 20.0


def fit_temperature(
    logits: np.ndarray, labels: np.ndarray, answer: Callable[[np.ndarray], np.ndarray] = lambda logits: logits
) -> float:
    """The T for which logits / T have the smallest mean cross entropy (section 4.2): one for all classes.

    logits: (N, num_classes) floats; labels: (N,) integers, or (N, num_classes) of a yes or no for each class (1, 0, and
    -1 for unknown), of which the mean binary cross entropy is taken. answer: makes one of the logits of several views,
    which are divided before. Raises ReportedError when there is none between 0.05 and 20: the smaller it is the better
    where every image is answered right.
    """
    from scipy.optimize import minimize_scalar  # 0.2 s to import, for this alone

    def loss(logarithm: float) -> float:
        return mean_loss(answer(logits / np.exp(logarithm)), labels)

    logits = logits.astype(np.float64)
    bounds = (np.log(_LOWEST), np.log(_HIGHEST))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-7})
    is_flat = loss(bounds[0]) == loss(bounds[1])  # as of a single class
    if is_flat or min(abs(found.x - bound) for bound in bounds) < 1e-3:
        right, what = is_right(answer(logits), labels), "known labels" if labels.ndim == 2 else "images"
        raise ReportedError(
            f"no temperature between {_LOWEST:g} and {_HIGHEST:g} fits {right.size} {what}, of which {right.sum()} are "
            "answered right; calibrate on more images that the network was not trained on, such that some are wrong"
        )
    return float(np.exp(found.x))


def mean_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """The mean cross entropy of images, or of known labels; see `fit_temperature`. nan where nothing is known."""
    if labels.ndim == 1:
        return float(cross_entropy(logits, labels).mean())
    losses = binary_cross_entropy(logits, labels)[labels >= 0]
    return float(losses.mean()) if losses.size else float("nan")


def is_right(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether each image, or each known label from the probability 0.5 on, is answered right."""
    if labels.ndim == 1:
        return logits.argmax(1) == labels
    return ((logits >= 0) == (labels == 1))[labels >= 0]


def is_temperature(value: object) -> bool:
    """Tell whether `value`, from a file that nobody vouches for, can be what logits are divided by."""
    return type(value) in (int, float) and 1e-3 <= value <= 1e3


def confidences(logits: np.ndarray) -> np.ndarray:
    """The probability of the most probable class of each row of logits (N, num_classes): (N,) float64."""
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    return 1 / np.exp(shifted).sum(1)


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> np.ndarray:
    """The reliability diagram: (bins, 3) float64, a row for each bin of equal width: images, accuracy, confidence.

    confidence: (N,) between 0 and 1, in the bin (lower, upper]; right: (N,) truth values. Of an empty bin nan.
    """
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    images = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        sums = [np.bincount(place, weights, bins) / images for weights in (right.astype(np.float64), confidence)]
    return np.stack([images, *sums], axis=1)


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """The expected calibration error (equation 3): the mean distance of accuracy and confidence, images weighted. Of
    none nan.
    """
    images, accuracy, sure = reliability(confidence, right, bins).T
    filled = images > 0
    distance = (images[filled] * np.abs(accuracy - sure)[filled]).sum()
    return float(distance / images.sum()) if filled.any() else math.nan
