"""Dropout whose random numbers a checkpoint can carry, so that a resumed run draws the same ones bit for bit."""

import mindspore as ms
import numpy as np
from mindspore import nn, ops


def dropout_of(rate: float) -> tuple[int, float]:
    """The lowest hash that keeps its element, and what that is multiplied by.

    Hashes are spread evenly over int32: the lowest `rate` of them drop their element.
    """
    return round(rate * 2**32) - 2**31, 1.0 / (1.0 - rate)


class CountedDropout(nn.Cell):
    """While training, zero each element with probability `rate` and scale the others by 1 / (1 - rate).

    x: (N, ...) -> the same shape and type. An element is kept or not by a hash of its index, the layer's key and the
    number of calls so far; the last two are the Parameter `random_state`, int32 (2,). nn.Dropout's own state can be
    neither saved nor restored. `key` is any 32-bit integer and tells the layers of one network, and runs, apart. The
    C++ kernels drop the same elements (src/ops/cpp/map/dropout.h).
    """

    def __init__(self, rate: float, key: int) -> None:
        super().__init__()
        lowest_kept, self.scale = dropout_of(rate)
        self.lowest_kept = ms.Tensor(lowest_kept, ms.int32)
        self.random_state = ms.Parameter(ms.Tensor(np.array([key, 0], np.int32)), requires_grad=False)

    def construct(self, x):
        """See the class."""
        if not self.training:
            return x
        call_hash = _mix(_mix(self.random_state[0]) + self.random_state[1])
        samples, elements = x.shape[0], x.size // x.shape[0]
        # Two short constants: their sum, the index of each element, would be a constant as large as x.
        rows = ms.Tensor(np.arange(samples).reshape(-1, 1) * elements, ms.int32)
        columns = ms.Tensor(np.arange(elements).reshape(1, -1), ms.int32)
        element_hash = _mix(_mix(ops.bitwise_xor(_mix(rows + columns), call_hash)))
        kept = element_hash >= self.lowest_kept
        kept = ops.depend(kept, ops.assign_add(self.random_state, ms.Tensor([0, 1], ms.int32)))
        return x * kept.reshape(x.shape).astype(x.dtype) * self.scale


def _mix(x):
    """A cheap hash of int32 to int32: a multiplication, which wraps around and mixes high bits best, folded down."""
    x = x * ms.Tensor(0x7FEB352D, ms.int32)
    high_bits = ops.bitwise_and(ops.bitwise_right_shift(x, ms.Tensor(15, ms.int32)), ms.Tensor(0x1FFFF, ms.int32))
    return ops.bitwise_xor(x, high_bits)
