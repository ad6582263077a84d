"""Softmax cross entropy with label smoothing and class weights."""

from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops


class CrossEntropy(nn.Cell):
    """Mean over the batch of -sum_j q_j log softmax(logits)_j with q_j = (1 - eps) [j = label] + eps / K.

    eps is `label_smoothing` and K the number of classes (Szegedy et al. 2016, arXiv:1512.00567, section 7; the same as
    PyTorch's CrossEntropyLoss(label_smoothing=eps)). With `class_weights` w the sum is of w_j q_j log softmax(logits)_j
    and the mean is weighted: divided by the sum of the labels' weights, as PyTorch's CrossEntropyLoss(weight=w).
    Computes in float32 whatever the type of the logits.
    """

    def __init__(self, label_smoothing: float = 0.0, class_weights: Sequence[float] = ()) -> None:
        super().__init__()
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(f"label_smoothing is {label_smoothing}, expected 0 <= label_smoothing < 1")
        self.label_smoothing = label_smoothing
        self.is_weighted = len(class_weights) > 0
        if self.is_weighted:
            self.class_weights = Tensor(np.array(class_weights, np.float32))

    def construct(self, logits, labels):
        """logits: (N, K); labels: (N,) int32 in [0, K) -> () float32."""
        log_probabilities = ops.log_softmax(logits.astype(ms.float32), -1)
        if self.is_weighted:
            return self._weighted(log_probabilities, labels)
        loss = -ops.gather_elements(log_probabilities, 1, labels.expand_dims(1)).mean()
        if self.label_smoothing > 0.0:
            uniform_loss = -log_probabilities.mean()
            loss = (1.0 - self.label_smoothing) * loss + self.label_smoothing * uniform_loss
        return loss

    def _weighted(self, log_probabilities, labels):
        own = ops.gather(self.class_weights, labels, 0)
        chosen = ops.gather_elements(log_probabilities, 1, labels.expand_dims(1)).reshape(-1)
        loss = -(own * chosen).sum() / own.sum()
        if self.label_smoothing > 0.0:
            uniform_loss = -(log_probabilities * self.class_weights).mean(1).sum() / own.sum()
            loss = loss + self.label_smoothing * (uniform_loss - loss)
        return loss
