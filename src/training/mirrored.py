"""Test-time augmentation: a picture and its mirror image are both asked, and their probabilities averaged."""

from collections.abc import Callable

import numpy as np

Logits = Callable[[np.ndarray], np.ndarray]  # a model as a function: (B, C, S, S) float32 -> (B, num_classes) float32

MIRRORED = "each answer is the mean of the probabilities of the image and its mirror image (tta)"


def with_mirror(model: Logits, task: str = "single") -> Logits:
    """`model`, answering with `mean_answer` of images (B, C, S, S) and of the same mirrored left to right."""

    def logits(images: np.ndarray) -> np.ndarray:
        return mean_answer(model(images), model(mirrored(images)), task)

    return logits


def mirrored(images: np.ndarray) -> np.ndarray:
    """Images (B, C, H, W), left and right exchanged."""
    return np.ascontiguousarray(images[..., ::-1])


def mean_answer(one: np.ndarray, other: np.ndarray, task: str = "single") -> np.ndarray:
    """Logits, float32 (B, K), whose probabilities are the mean of those of the logits `one` and `other`: the softmax of
    one answer (`single`), or the sigmoid of a yes or no to each class (`multilabel`).
    """
    pair = np.stack([one, other]).astype(np.float64)
    if task == "multilabel":
        yes, no = (-np.logaddexp(0, sign * pair) for sign in (-1, 1))  # logarithms of the probabilities
        return (np.logaddexp(*yes) - np.logaddexp(*no)).astype(np.float32)
    highest = pair.max(-1, keepdims=True)
    logarithms = pair - highest - np.log(np.exp(pair - highest).sum(-1, keepdims=True))
    return (np.logaddexp(*logarithms) - np.log(2)).astype(np.float32)
