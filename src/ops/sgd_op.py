"""The optimizer's update on a CPU as a single operator, see `src/optimizers/sgd.py`."""

import mindspore as ms
from mindspore import nn

from src.ops.dense_ops import floats, operator


class SgdUpdate(nn.Cell):
    """Changes all parameters and velocities in place; returns a value to wait for.

    MindSpore's own kernels pass three times over each of hundreds of parameters, with one thread.
    """

    def __init__(
        self,
        library: str,
        momentum: float,
        nesterov: bool,
        decays: tuple[float, ...],
        lr_factors: tuple[float, ...],
    ) -> None:
        super().__init__()
        self.settings = ms.Tensor([momentum, float(nesterov), *decays, *lr_factors], ms.float32)
        self.update = operator(library, "sgd_update", lambda *_: [1], floats(1))

    def construct(self, gradients, lr, parameters, velocities):
        """gradients, parameters, velocities: one tensor each for a parameter; lr: () float32."""
        return self.update(self.settings, lr, *gradients, *parameters, *velocities)
