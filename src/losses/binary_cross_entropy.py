"""Binary cross entropy for several labels an image, some of which may be unknown."""

from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops


class BinaryCrossEntropy(nn.Cell):
    """Mean over the known labels of the batch of -w_k y log p - (1 - y) log(1 - p), with p = sigmoid(logit).

    Unknown labels (-1) are left out: they have no gradient and are not in the mean. w_k is `positive_weights[k]`, 1 for
    all where there are none (as PyTorch's pos_weight). With `label_smoothing` eps, y becomes (1 - eps) y + eps / 2.
    Computes in float32 whatever the type of the logits.
    """

    def __init__(self, label_smoothing: float = 0.0, positive_weights: Sequence[float] = ()) -> None:
        super().__init__()
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(f"label_smoothing is {label_smoothing}, expected 0 <= label_smoothing < 1")
        self.label_smoothing = label_smoothing
        weights = np.array(positive_weights if len(positive_weights) else [1.0], np.float32)
        self.positive_weights = Tensor(weights[None])

    def construct(self, logits, labels):
        """logits: (N, K); labels: (N, K) integers, 1, 0 or -1 -> () float32."""
        logits, labels = logits.astype(ms.float32), labels.astype(ms.float32)
        known = (labels >= 0).astype(ms.float32)
        wanted = labels * known
        if self.label_smoothing > 0.0:
            wanted = (1.0 - self.label_smoothing) * wanted + 0.5 * self.label_smoothing
        # -log(1 - p) is softplus(logit) and -log p is softplus(logit) - logit.
        positive, negative = ops.softplus(-logits), ops.softplus(logits)
        loss = self.positive_weights * wanted * positive + (1.0 - wanted) * negative
        return (loss * known).sum() / ops.maximum(known.sum(), Tensor(1.0, ms.float32))
