"""The memory-efficient dense layer: what its first convolution reads is made again in the backward pass, not kept."""

from mindspore import nn, ops

_concat = ops.Concat(1)


def concatenate(features):
    """Feature maps, a tuple of (N, c_i, H, W), as one: (N, sum of c_i, H, W)."""
    # Concatenating a single tensor makes MindSpore's compiler print debugging output.
    return features[0] if len(features) == 1 else _concat(features)


class RecomputedBottleneck(nn.Cell):
    """Concatenation, batch normalisation, ReLU and 1x1 convolution that keep none of their intermediate results.

    These grow with the square of a block's depth and are most of a DenseNet's memory (Pleiss et al. 2017,
    arXiv:1707.06990). `nn.Cell.recompute()` saves as much, but executes the normalisation's update of the running
    statistics a second time; here the second execution works on scratch statistics.

    norm, conv: the layer's own cells, whose operators are used and whose parameters are passed to construct. It
    computes in the type of the features and must not be cast by `to_float`: nn.Cell would pass it copies of the
    running statistics, whose update is lost. Graph mode only.
    """

    def __init__(self, norm: nn.BatchNorm2d, conv: nn.Conv2d) -> None:
        super().__init__()
        self.pure = _Bottleneck(norm, conv)
        self.gradients_of = ops.GradOperation(get_all=True, sens_param=True)
        # A primitive: the function ops.zeros_like does not compile inside a bprop.
        self.zeros_like = ops.ZerosLike()

    def construct(self, features, gamma, beta, moving_mean, moving_variance, weight):
        """features: tuple of (N, c_i, H, W); weight: (width, sum of c_i, 1, 1) -> (N, width, H, W)."""
        return self.pure(features, gamma, beta, moving_mean, moving_variance, weight)

    def bprop(self, features, gamma, beta, moving_mean, moving_variance, weight, out, dout):  # noqa: ARG002 - MindSpore's
        """Gradients of construct's inputs; the statistics have none."""
        # Without this dependence the second execution would be free to run during the forward pass.
        features = (ops.depend(features[0], dout), *features[1:])
        zeros = self.zeros_like(gamma)
        gradients = self.gradients_of(self.pure)(features, gamma, beta, zeros, zeros, weight, dout)
        return gradients[0], gradients[1], gradients[2], zeros, zeros, gradients[5]


class _Bottleneck(nn.Cell):
    """The same from primitives only, which is what can be differentiated inside a bprop."""

    def __init__(self, norm: nn.BatchNorm2d, conv: nn.Conv2d) -> None:
        super().__init__()
        self.batch_norm = norm.bn_train
        self.relu = ops.ReLU()
        self.conv2d = conv.conv2d
        self.cast = ops.Cast()

    def construct(self, features, gamma, beta, moving_mean, moving_variance, weight):
        x = self.batch_norm(concatenate(features), gamma, beta, moving_mean, moving_variance)[0]
        return self.conv2d(self.relu(x), self.cast(weight, x.dtype))
