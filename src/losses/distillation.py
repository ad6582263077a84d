"""The loss by which one network learns another one's probabilities."""

import mindspore as ms
from mindspore import nn, ops


class DistillationLoss(nn.Cell):
    """Mean over the batch of T^2 sum_j p_j (log p_j - log q_j), with p and q the softmax of the teacher's and the
    student's logits divided by the temperature T (Hinton et al. 2015, arXiv:1503.02531, section 2).

    T^2 keeps the gradients as large as those of the labels' cross entropy, whatever T is. Computes in float32.
    """

    def __init__(self, temperature: float) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature is {temperature}, expected more than 0")
        self.temperature = temperature

    def construct(self, logits, teacher_logits):
        """logits, teacher_logits: (N, K) -> () float32."""
        given = ops.log_softmax(logits.astype(ms.float32) / self.temperature, -1)
        wanted = ops.log_softmax(teacher_logits.astype(ms.float32) / self.temperature, -1)
        return (ops.exp(wanted) * (wanted - given)).sum(-1).mean() * self.temperature**2
