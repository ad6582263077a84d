"""Stochastic gradient descent with momentum, with PyTorch's definition of it."""

from collections.abc import Iterable, Sequence

import mindspore as ms
from mindspore import nn, ops

from src.ops.sgd_op import SgdUpdate

_update = ops.MultitypeFuncGraph("sgd_update")
_apply_momentum = ops.ApplyMomentum()


@_update.register("Bool", "Number", "Tensor", "Number", "Number", "Tensor", "Tensor", "Tensor")
def _update_one(nesterov, momentum, lr, weight_decay, lr_factor, gradient, parameter, velocity):
    if lr_factor != 1.0:
        lr = lr * lr_factor
    if weight_decay > 0.0:
        gradient = gradient + weight_decay * parameter
    if nesterov:
        # Spelt out because the CPU kernel of ApplyMomentum(use_nesterov=True) does the plain update (MindSpore 2.10).
        velocity = ops.assign(velocity, momentum * velocity + gradient)
        updated = ops.assign_sub(parameter, lr * (gradient + momentum * velocity))
    else:
        updated = _apply_momentum(parameter, velocity, lr, gradient, momentum)
    return ops.depend(True, updated)


class SGD(nn.Cell):
    """One update of `parameters` a call:

        d = g + weight_decay * p;  v = momentum * v + d;  p -= lr * factor * (d + momentum * v if nesterov else v)

    lr is an input, so one compiled graph serves every schedule. factor is each parameter's own of `lr_factors`, 1 where
    there are none (see `layer_decay.py`). The velocities v start at zero and are Parameters, `moments.<parameter
    name>`, which checkpoints save. BN gammas and betas and biases, the parameters of one dimension, decay only with
    `decay_norm_and_bias`. kernels: the library of operators for CPUs (`src/ops/build.py`), which updates all parameters
    in one pass over memory.
    """

    def __init__(
        self,
        parameters: Iterable[ms.Parameter],
        *,
        momentum: float,
        weight_decay: float,
        nesterov: bool = False,
        decay_norm_and_bias: bool = False,
        kernels: str | None = None,
        lr_factors: Sequence[float] = (),
    ) -> None:
        super().__init__(auto_prefix=False)
        self.parameters = ms.ParameterTuple(parameters)
        self.moments = self.parameters.clone(prefix="moments", init="zeros")
        self.nesterov = nesterov
        self.momentum = momentum
        self.decays = tuple(
            weight_decay if decay_norm_and_bias or parameter.ndim > 1 else 0.0 for parameter in self.parameters
        )
        self.lr_factors = tuple(lr_factors) or (1.0,) * len(self.parameters)
        # Not a loop: MindSpore unrolls those into nested calls and gives up at 1000, DenseNet-121's 364 parameters.
        self.for_each = ops.HyperMap()
        self.fused = SgdUpdate(kernels, momentum, nesterov, self.decays, self.lr_factors) if kernels else None

    def construct(self, gradients, lr):
        """gradients: one tensor for each parameter, in order; lr: () float32 -> what to wait for with ops.depend."""
        if self.fused is not None:
            return self.fused(gradients, lr, self.parameters, self.moments)
        update = ops.partial(_update, self.nesterov, self.momentum, lr)
        return self.for_each(update, self.decays, self.lr_factors, gradients, self.parameters, self.moments)
