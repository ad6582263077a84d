"""Softmax cross entropy with label smoothing."""

import mindspore as ms
from mindspore import nn, ops


class CrossEntropy(nn.Cell):
    """Mean over the batch of -sum_j q_j log softmax(logits)_j with q_j = (1 - eps) [j = label] + eps / K.

    eps is `label_smoothing` and K the number of classes (Szegedy et al. 2016, arXiv:1512.00567, section 7; the same as
    PyTorch's CrossEntropyLoss(label_smoothing=eps)). Computes in float32 whatever the type of the logits.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(f"label_smoothing is {label_smoothing}, expected 0 <= label_smoothing < 1")
        self.label_smoothing = label_smoothing

    def construct(self, logits, labels):
        """logits: (N, K); labels: (N,) int32 in [0, K) -> () float32."""
        log_probabilities = ops.log_softmax(logits.astype(ms.float32), -1)
        loss = -ops.gather_elements(log_probabilities, 1, labels.expand_dims(1)).mean()
        if self.label_smoothing > 0.0:
            uniform_loss = -log_probabilities.mean()
            loss = (1.0 - self.label_smoothing) * loss + self.label_smoothing * uniform_loss
        return loss
