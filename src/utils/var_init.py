"""Initial weights of a network, from an explicit seed."""

import math

import mindspore as ms
import numpy as np
from mindspore import nn


def initialise(network: nn.Cell, seed: int) -> None:
    """Set the weights of every convolution and linear layer of `network`, in place and in the order of its layers.

    Convolutions: normal(0, sqrt(2 / (k * k * out_channels))), biasless, as in the paper's reference code. Linear
    layers: uniform(+-1 / sqrt(fan_in)), the default there, and a zero bias. Batch normalisation starts as MindSpore
    makes it: gamma 1, beta 0. Only `seed` decides the numbers, not MindSpore's or numpy's global state.
    """
    random = np.random.default_rng(seed)
    for _, cell in network.cells_and_names():
        if isinstance(cell, nn.Conv2d):
            shape = cell.weight.shape  # (out_channels, in_channels, k, k)
            deviation = math.sqrt(2.0 / (shape[0] * shape[2] * shape[3]))
            values = random.standard_normal(shape, np.float32) * np.float32(deviation)
        elif isinstance(cell, nn.Dense):
            shape = cell.weight.shape  # (out_features, fan_in)
            bound = 1.0 / math.sqrt(shape[1])
            values = random.uniform(-bound, bound, shape).astype(np.float32)
            cell.bias.set_data(ms.Tensor(np.zeros(cell.bias.shape, np.float32)))
        else:
            continue
        cell.weight.set_data(ms.Tensor(values))
