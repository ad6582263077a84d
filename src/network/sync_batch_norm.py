"""Batch normalisation over the images of all ranks, from operators that every device has."""

import mindspore as ms
from mindspore import Parameter, nn, ops


class SyncBatchNorm(nn.Cell):
    """(N, C, H, W) -> (N, C, H, W), normalised with mean and variance over the N of all ranks, H and W.

    It computes what nn.BatchNorm2d computes on one device for the concatenated batch (Ioffe and Szegedy 2015), in
    float32, with the same parameters. MindSpore's own nn.SyncBatchNorm runs on Ascend only. Two all-reduces of C floats
    forward, the mean and then the variance about it, which is stable where E[x^2] - E[x]^2 is not; two backward.
    """

    def __init__(self, channels: int, world_size: int, eps: float = 1e-5, momentum: float = 0.9) -> None:
        super().__init__()
        self.eps, self.momentum, self.world_size = eps, momentum, world_size
        self.gamma = Parameter(ms.ops.ones(channels, ms.float32), name="gamma")
        self.beta = Parameter(ms.ops.zeros(channels, ms.float32), name="beta")
        self.moving_mean = Parameter(ms.ops.zeros(channels, ms.float32), name="mean", requires_grad=False)
        self.moving_variance = Parameter(ms.ops.ones(channels, ms.float32), name="variance", requires_grad=False)
        self.sum_over_ranks = ops.AllReduce(ops.ReduceOp.SUM)

    def construct(self, x):
        """See the class."""
        inputs = x.astype(ms.float32)
        if self.training:
            mean = self.sum_over_ranks(inputs.mean((0, 2, 3))) / self.world_size
            centred = inputs - mean.reshape(1, -1, 1, 1)
            variance = self.sum_over_ranks((centred * centred).mean((0, 2, 3))) / self.world_size
            count = x.shape[0] * x.shape[2] * x.shape[3] * self.world_size
            unbiased = variance * (count / max(count - 1, 1))
            written = (self._follow(self.moving_mean, mean), self._follow(self.moving_variance, unbiased))
            centred = ops.depend(centred, written)
        else:
            centred, variance = inputs - self.moving_mean.reshape(1, -1, 1, 1), self.moving_variance
        scale = self.gamma * ops.rsqrt(variance + self.eps)
        return (centred * scale.reshape(1, -1, 1, 1) + self.beta.reshape(1, -1, 1, 1)).astype(x.dtype)

    def _follow(self, moving, value):
        return ops.assign(moving, self.momentum * moving + (1.0 - self.momentum) * ops.stop_gradient(value))
