"""Test-time augmentation: a picture and its mirror image are both asked, and their probabilities averaged."""

from collections.abc import Callable

import numpy as np

Logits = Callable[[np.ndarray], np.ndarray]  # a model as a function: (B, C, S, S) float32 -> (B, num_classes) float32
# Called with the logits, labels and indices of each batch of an evaluation.
Watcher = Callable[[np.ndarray, np.ndarray, np.ndarray], None]

MIRRORED = "each answer is the mean of the probabilities of the image and its mirror image (tta)"


class Answering:
    """`model`, which is asked for images (B, C, S, S) alone, or (`mirrors`) for the same mirrored left to right too:
    it answers with `joined`.
    """

    def __init__(self, model: Logits, task: str = "single", *, mirrors: bool) -> None:
        self._model, self._task, self._mirrors = model, task, mirrors
        self._views = np.zeros((0, 0, 0), np.float32)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """The logits (B, num_classes) float32."""
        logits = self._model(images)
        # Copied before the next call: what MindSpore gives out is its own memory.
        self._views = np.stack([logits.copy(), self._model(mirrored(images))]) if self._mirrors else logits[None]
        return joined(self._views, self._task)

    def views(self, count: int) -> np.ndarray:
        """What the last answer to the first `count` images was made of, (views, count, num_classes) float32."""
        return self._views[:, :count]

    def watched_by(self, add: Callable[[np.ndarray, np.ndarray, np.ndarray], None]) -> Watcher:
        """A watcher of an evaluation that calls add (views, labels, indices) with the views of each batch."""
        return lambda logits, labels, indices: add(self.views(len(logits)), labels, indices)


def joined(views: np.ndarray, task: str = "single") -> np.ndarray:
    """The logits (N, num_classes) of the answer to N images, of one or two views of each, (views, N, num_classes)."""
    return views[0] if len(views) == 1 else mean_answer(*views, task)


def mirrored(images: np.ndarray) -> np.ndarray:
    """Images (B, C, H, W), left and right exchanged."""
    return np.ascontiguousarray(images[..., ::-1])


def mean_answer(one: np.ndarray, other: np.ndarray, task: str = "single") -> np.ndarray:
    """Logits (B, K) whose probabilities are the mean of those of the logits `one` and `other`, of their precision: the
    softmax of one answer (`single`), or the sigmoid of a yes or no to each class (`multilabel`).
    """
    pair = np.stack([one, other]).astype(np.float64)
    if task == "multilabel":
        yes, no = (-np.logaddexp(0, sign * pair) for sign in (-1, 1))  # logarithms of the probabilities
        return (np.logaddexp(*yes) - np.logaddexp(*no)).astype(one.dtype)
    highest = pair.max(-1, keepdims=True)
    logarithms = pair - highest - np.log(np.exp(pair - highest).sum(-1, keepdims=True))
    return (np.logaddexp(*logarithms) - np.log(2)).astype(one.dtype)
