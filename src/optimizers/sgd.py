"""Stochastic gradient descent with momentum, with PyTorch's definition of it."""

from collections.abc import Iterable

import mindspore as ms
from mindspore import nn, ops


class SGD(nn.Cell):
    """One update of `parameters` a call:

        d = g + weight_decay * p;  v = momentum * v + d;  p -= lr * (d + momentum * v if nesterov else v)

    lr is an input, so one compiled graph serves every schedule. The velocities v start at zero and are Parameters called
    `moments.<parameter name>`, which checkpoints save. BN gammas and betas and biases decay only with
    `decay_norm_and_bias`: they are the parameters of one dimension.
    """

    def __init__(
        self,
        parameters: Iterable[ms.Parameter],
        *,
        momentum: float,
        weight_decay: float,
        nesterov: bool = False,
        decay_norm_and_bias: bool = False,
    ) -> None:
        super().__init__(auto_prefix=False)
        self.parameters = ms.ParameterTuple(parameters)
        self.moments = self.parameters.clone(prefix="moments", init="zeros")
        self.momentum = momentum
        self.decays = tuple(
            weight_decay if decay_norm_and_bias or parameter.ndim > 1 else 0.0 for parameter in self.parameters
        )
        self.apply_momentum = ops.ApplyMomentum(use_nesterov=nesterov)

    def construct(self, gradients, lr):
        """gradients: one tensor for each parameter, in order; lr: () float32 -> () bool, for ops.depend."""
        done = True
        for i in range(len(self.decays)):
            gradient = gradients[i]
            if self.decays[i] > 0.0:
                gradient = gradient + self.decays[i] * self.parameters[i]
            update = self.apply_momentum(self.parameters[i], self.moments[i], lr, gradient, self.momentum)
            done = ops.depend(done, update)
        return done
