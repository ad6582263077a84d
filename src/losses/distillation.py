"""The losses by which one network learns another one's probabilities."""

import mindspore as ms
from mindspore import nn, ops


class DistillationLoss(nn.Cell):
    """Mean over the batch of T^2 sum_j p_j (log p_j - log q_j), with p and q the softmax of the teacher's and the
    student's logits divided by the temperature T (Hinton et al. 2015, arXiv:1503.02531, section 2).

    T^2 keeps the gradients as large as those of the labels' cross entropy, whatever T is. Computes in float32.
    """

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = _positive(temperature)

    def construct(self, logits, teacher_logits):
        """logits, teacher_logits: (N, K) -> () float32."""
        given = ops.log_softmax(logits.astype(ms.float32) / self.temperature, -1)
        wanted = ops.log_softmax(teacher_logits.astype(ms.float32) / self.temperature, -1)
        return (ops.exp(wanted) * (wanted - given)).sum(-1).mean() * self.temperature**2


class BinaryDistillationLoss(nn.Cell):
    """The same of several labels an image: the mean over images and classes of T^2 (p log(p / q) +
    (1 - p) log((1 - p) / (1 - q))), with p and q the sigmoid of the teacher's and the student's logits divided by T.

    The teacher's answers count where the label is unknown, too. Computes in float32.
    """

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = _positive(temperature)

    def construct(self, logits, teacher_logits):
        """logits, teacher_logits: (N, K) -> () float32."""
        given = logits.astype(ms.float32) / self.temperature
        wanted = teacher_logits.astype(ms.float32) / self.temperature
        p = ops.sigmoid(wanted)
        # log q is -softplus(-logit), log(1 - q) is -softplus(logit).
        yes = ops.softplus(-given) - ops.softplus(-wanted)
        no = ops.softplus(given) - ops.softplus(wanted)
        return (p * yes + (1.0 - p) * no).mean() * self.temperature**2


def _positive(temperature: float) -> float:
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}, expected more than 0")
    return temperature
