"""The network of the C++ kernels for CPUs: a few operators for hundreds, with the plain network's parameters."""

from mindspore import nn, ops

from src.network.architecture import Architecture
from src.network.dropout import dropout_of
from src.ops.dense_ops import DenseBlock, FinalNorm, Measure, Stem, Transition


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
    """(trained, running) of a dense block's layers, one after the other; the states of their dropouts come last."""
    weights, statistics, states = (), (), ()
    for layer in layers:
        weights += (*trained(layer.norm1), layer.conv1.weight, *trained(layer.norm2), layer.conv2.weight)
        statistics += (*running(layer.norm1), *running(layer.norm2))
        if layer.drops:
            states += (layer.dropout.random_state,)
    return weights, statistics + states


def as_colours(x):
    """(N, 1, H, W) -> (N, 3, H, W), the other two zero: what the stem's operators take. Images and weights alike."""
    zeros = ops.zeros_like(x)
    return ops.concat((x, zeros, zeros), 1)


class FusedBackbone(nn.Cell):
    """The layers of the plain network, whose parameters it is given, as a few operators of our own (`src/ops`).

    pool: the means of the features follow, (N, out_channels), which is less to write than the features. frozen_blocks:
    in training too the stem and so many blocks with their transitions are evaluated.
    """

    def __init__(self, arch: Architecture, library: str, precision: str, pool: bool, frozen_blocks: int = 0) -> None:
        super().__init__()
        self.frozen_blocks = frozen_blocks
        self.measure = Measure(library)
        self.is_grey = arch.input_channels == 1
        self.stem = Stem(library, arch.stem_pool, precision)
        self.block = DenseBlock(library, precision, dropout_of(arch.drop_rate) if arch.drop_rate > 0 else None)
        self.transition = Transition(library, arch.transition_pool, precision)
        self.final_norm = FinalNorm(library, pool)

    def construct(self, images, stem, blocks, transitions, final_norm):
        """See the class."""
        (conv, *norm), running_statistics = stem
        if self.is_grey:
            images, conv = as_colours(images), as_colours(conv)
        first = self.frozen_blocks if self.training else 0
        if first > 0:
            x = self.evaluated(images, ((conv, *norm), running_statistics), blocks[:first], transitions[:first])
            reader = blocks[first] if first < len(blocks) else final_norm
            x = ops.stop_gradient(x)
            stats = ops.stop_gradient(self.measure(x, reader[0][0]))
        else:
            out = self.stem(images, (conv, *norm), running_statistics)
            x, stats = out[0], out[1]
        for number, parameters in enumerate(blocks):
            if number >= first:
                out = self.block(x, stats, *parameters)
                x, stats = out[0], out[1]
                if number < len(transitions):
                    out = self.transition(x, stats, *transitions[number])
                    x, stats = out[0], out[1]
        return self.final_norm(x, stats, *final_norm)

    def evaluated(self, images, stem, blocks, transitions):
        """The stem and these blocks and transitions as in evaluation, whatever the mode: features without statistics.

        The operators themselves: their cells are in training.
        """
        x = self.stem.infer_op(images, *stem[0], *stem[1])
        for number, (weights, statistics) in enumerate(blocks):
            x = self.block.infer_op(x, *weights, *statistics)[0]
            if number < len(transitions):
                x = self.transition.infer_op(x, *transitions[number][0], *transitions[number][1])
        return x
