"""The network of the C++ kernels for CPUs: a few operators for hundreds, with the plain network's parameters."""

from mindspore import nn, ops

from src.network.architecture import Architecture
from src.ops.dense_ops import DenseBlock, FinalNorm, Stem, Transition


def trained(norm):
    """The trained parameters of a batch normalisation."""
    return norm.gamma, norm.beta


def running(norm):
    """Its running statistics."""
    return norm.moving_mean, norm.moving_variance


def conv_parameters(norm, conv):
    """(trained, running) of BN-ReLU-conv."""
    return (*trained(norm), conv.weight), running(norm)


def block_parameters(layers):
    """(trained, running) of a dense block's layers, one after the other."""
    weights, statistics = (), ()
    for layer in layers:
        weights += (*trained(layer.norm1), layer.conv1.weight, *trained(layer.norm2), layer.conv2.weight)
        statistics += (*running(layer.norm1), *running(layer.norm2))
    return weights, statistics


def as_colours(x):
    """(N, 1, H, W) -> (N, 3, H, W), the other two zero: what the stem's operators take. Images and weights alike."""
    zeros = ops.zeros_like(x)
    return ops.concat((x, zeros, zeros), 1)


class FusedBackbone(nn.Cell):
    """The layers of the plain network, whose parameters it is given, as a few operators of our own (`src/ops`).

    pool: the means of the features follow, (N, out_channels), which is less to write than the features.
    """

    def __init__(self, arch: Architecture, library: str, precision: str, pool: bool) -> None:
        super().__init__()
        self.is_grey = arch.input_channels == 1
        self.stem = Stem(library, arch.stem_pool, precision)
        self.block = DenseBlock(library, precision)
        self.transition = Transition(library, precision)
        self.final_norm = FinalNorm(library, pool)

    def construct(self, images, stem, blocks, transitions, final_norm):
        """See the class."""
        (conv, *norm), running_statistics = stem
        if self.is_grey:
            images, conv = as_colours(images), as_colours(conv)
        out = self.stem(images, (conv, *norm), running_statistics)
        x, stats = out[0], out[1]
        for number, parameters in enumerate(blocks):
            out = self.block(x, stats, *parameters)
            x, stats = out[0], out[1]
            if number < len(transitions):
                x, stats = self.transition(x, stats, *transitions[number])
        return self.final_norm(x, stats, *final_norm)
