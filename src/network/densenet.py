"""DenseNet-BC (Huang et al. 2017, arXiv:1608.06993), with the parameter names of the MindSpore model zoo.

    conv0 norm0 relu [max pool] - denseblock1 - transition1 - ... - denseblockN - norm5 relu - global mean - head.fc

A dense layer is BN-ReLU-conv1x1 (to bn_size * k channels), BN-ReLU-conv3x3 (to k channels); its input is everything
the block has made so far. A transition is BN-ReLU-conv1x1 (to compression * channels) and a 2x2 pool.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from src.network.architecture import NETWORKS, Architecture, architecture
from src.network.dropout import CountedDropout
from src.network.fused import FusedBackbone, block_parameters, conv_parameters, running, trained
from src.network.recompute import RecomputedBottleneck, concatenate
from src.network.sync_batch_norm import SyncBatchNorm
from src.utils.var_init import initialise

__all__ = ["NETWORKS", "Architecture", "DenseNet", "architecture"]

MOMENTUM = 0.9  # of the running statistics; the C++ kernels have the same


def _conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    padding = kernel_size // 2
    pad_mode = "pad" if padding else "valid"
    # Zeros cost nothing; `initialise` fills every weight once the network stands.
    return nn.Conv2d(
        in_channels, out_channels, kernel_size, stride, pad_mode, padding, has_bias=False, weight_init="zeros"
    )


def _frozen_batch_norm(channels: int) -> nn.Cell:
    """With the running statistics in training too, which stay what they are."""
    return nn.BatchNorm2d(channels, eps=1e-5, momentum=MOMENTUM, use_batch_statistics=False)


BatchNorm = Callable[[int], nn.Cell]  # number of channels -> the cell


def _batch_norm(channels: int, ranks: int) -> nn.Cell:
    if ranks > 1:
        return SyncBatchNorm(channels, ranks, eps=1e-5, momentum=MOMENTUM)
    return nn.BatchNorm2d(channels, eps=1e-5, momentum=MOMENTUM)


class _DenseLayer(nn.Cell):
    """All features of the block so far in, a tuple of (N, c_i, H, W); k new ones out, (N, growth_rate, H, W).

    channels: the sum of the c_i. dropout_key: see `CountedDropout`.
    """

    def __init__(
        self, channels: int, arch: Architecture, batch_norm: BatchNorm, recompute: bool, dropout_key: int
    ) -> None:
        super().__init__()
        width = arch.bn_size * arch.growth_rate
        self.norm1 = batch_norm(channels)
        self.conv1 = _conv(channels, width, 1)
        self.norm2 = batch_norm(width)
        self.conv2 = _conv(width, arch.growth_rate, 3)
        self.recomputed = RecomputedBottleneck(self.norm1, self.conv1) if recompute else None
        self.drops = arch.drop_rate > 0
        self.dropout = CountedDropout(arch.drop_rate, dropout_key) if self.drops else nn.Identity()

    def construct(self, features):
        if self.training and self.recomputed is not None:
            norm = self.norm1
            x = self.recomputed(
                features, norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance, self.conv1.weight
            )
        else:
            x = self.conv1(ops.relu(self.norm1(concatenate(features))))
        return self.dropout(self.conv2(ops.relu(self.norm2(x))))


class _DenseBlock(nn.Cell):
    """(N, channels, H, W) -> (N, channels + layers * growth_rate, H, W); a layer for each of dropout_keys."""

    def __init__(
        self, channels: int, arch: Architecture, batch_norm: BatchNorm, recompute: bool, dropout_keys: list[int]
    ) -> None:
        super().__init__()
        self.cell_list = nn.CellList(
            [
                _DenseLayer(channels + i * arch.growth_rate, arch, batch_norm, recompute, key)
                for i, key in enumerate(dropout_keys)
            ]
        )

    def construct(self, x):
        features = (x,)
        for layer in self.cell_list:
            features = (*features, layer(features))
        return concatenate(features)


class _StemPool(nn.Cell):
    """3x3 max pool of stride 2: (N, C, H, W) -> (N, C, ceil(H / 2), ceil(W / 2)), behind a ReLU."""

    def __init__(self, padding: str) -> None:
        super().__init__()
        self.pads_both_sides = padding == "pad"
        self.pool = nn.MaxPool2d(3, stride=2, pad_mode="valid" if self.pads_both_sides else "same")

    def construct(self, x):
        if self.pads_both_sides:
            # A ReLU's output is never below zero, so zeros pad as -inf would. nn.MaxPool2d's own padding cannot be
            # exported to ONNX, and ops.Pad alone takes ten times as long as the pool on a CPU.
            zeros = x[:, :, :1] * 0.0
            x = ops.concat((zeros, x, zeros), 2)
            zeros = x[:, :, :, :1] * 0.0
            x = ops.concat((zeros, x, zeros), 3)
        return self.pool(x)


class _Transition(nn.Cell):
    """Fewer channels and half the height and width, rounded down."""

    def __init__(self, channels: int, out_channels: int, batch_norm: BatchNorm, pool: str) -> None:
        super().__init__()
        features = OrderedDict(norm=batch_norm(channels), relu=nn.ReLU())
        if pool == "avg":
            # An average and a 1x1 convolution are both linear, so their order does not matter; a quarter of the work.
            features["pool"] = nn.AvgPool2d(kernel_size=2, stride=2)
        features["conv"] = _conv(channels, out_channels, 1)
        if pool == "max":
            features["pool"] = nn.MaxPool2d(kernel_size=2, stride=2)
        self.features = nn.SequentialCell(features)

    def construct(self, x):
        return self.features(x)


class _Backbone(nn.Cell):
    """(N, input_channels, H, W) -> (N, out_channels, h, w), h and w as `Architecture.feature_size` says.

    With kernels and pooled their means, (N, out_channels). last_frozen: the name of the last cell that is not trained.
    """

    def __init__(
        self,
        arch: Architecture,
        batch_norm: BatchNorm,
        recompute: bool,
        seed: int,
        kernels: str | None,
        kernel_precision: str,
        pooled: bool,
        frozen_blocks: int,
    ) -> None:
        super().__init__()
        trained_norm, trained_arch, trained_recompute = batch_norm, arch, recompute
        if frozen_blocks:  # as in evaluation: nothing is drawn, and nothing is kept that could be made again
            batch_norm, arch, recompute = _frozen_batch_norm, replace(arch, drop_rate=0.0), False
        random = np.random.default_rng(seed)
        channels = arch.stem_features
        self.last_frozen = ""
        features = OrderedDict()
        if arch.stem == "conv7x7":
            features["conv0"] = _conv(arch.input_channels, channels, 7, stride=2)
        else:
            features["conv0"] = _conv(arch.input_channels, channels, 3)
        features["norm0"] = batch_norm(channels)
        features["relu0"] = nn.ReLU()
        if arch.stem == "conv7x7":
            features["pool0"] = _StemPool(arch.stem_pool)
        for number, layers in enumerate(arch.block_config, start=1):
            dropout_keys = random.integers(-(2**31), 2**31, layers).tolist()
            features[f"denseblock{number}"] = _DenseBlock(channels, arch, batch_norm, recompute, dropout_keys)
            channels += layers * arch.growth_rate
            if number < len(arch.block_config):
                out_channels = max(1, int(channels * arch.compression))
                features[f"transition{number}"] = _Transition(channels, out_channels, batch_norm, arch.transition_pool)
                channels = out_channels
            if number == frozen_blocks:
                self.last_frozen = next(reversed(features))
                batch_norm, arch, recompute = trained_norm, trained_arch, trained_recompute
        features["norm5"] = batch_norm(channels)
        features["relu5"] = nn.ReLU()
        self.features = nn.SequentialCell(features)
        self.names = tuple(features)
        for parameter in self.frozen_parameters():
            parameter.requires_grad = False
        self.out_channels = channels
        self.blocks = tuple(name for name in features if name.startswith("denseblock"))
        self.transitions = tuple(name for name in features if name.startswith("transition"))
        self.fused = FusedBackbone(arch, kernels, kernel_precision, pooled, frozen_blocks) if kernels else None

    def frozen_parameters(self) -> list[ms.Parameter]:
        """Weights and running statistics up to the last frozen cell."""
        frozen = self.names[: self.names.index(self.last_frozen) + 1] if self.last_frozen else ()
        return [parameter for name in frozen for parameter in getattr(self.features, name).get_parameters()]

    def construct(self, images):
        cells = self.features
        if self.fused is None and self.last_frozen == "":
            return cells(images)
        if self.fused is None:
            x = images
            for name in self.names:
                x = getattr(cells, name)(x)
                if self.training and name == self.last_frozen:
                    x = ops.stop_gradient(x)
            return x
        blocks, transitions = (), ()
        for name in self.blocks:
            blocks += (block_parameters(getattr(cells, name).cell_list),)
        for name in self.transitions:
            parts = getattr(cells, name).features
            transitions += (conv_parameters(parts.norm, parts.conv),)
        stem = ((cells.conv0.weight, *trained(cells.norm0)), running(cells.norm0))
        return self.fused(images, stem, blocks, transitions, (trained(cells.norm5), running(cells.norm5)))


class _Head(nn.Cell):
    """Global average pooling and the classifier: (N, C, h, w), or their means (N, C) -> logits (N, K) float32."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.fc = nn.Dense(channels, num_classes, weight_init="zeros", bias_init="zeros")

    def construct(self, features):
        return self.fc(features.mean((2, 3)) if features.ndim == 4 else features)


class DenseNet(nn.Cell):
    """Images (N, C, H, W) -> logits (N, num_classes) float32, or with include_top=False the last features (N, F, h, w).

    recompute: trade time for memory in training (`recompute.py`); the results are the same. seed: of the initial
    weights (`src/utils/var_init.py`) and of the dropout masks. norm_ranks: of how many ranks batch normalisation takes
    the images together in training (`sync_batch_norm.py`), not with recompute. kernels: the library of operators for
    CPUs (`src/ops/build.py`), for norm_ranks 1; kernel_precision: fp32, or bf16
    for the convolutions. frozen_blocks: the stem and so many dense blocks with their transitions are not trained:
    no gradients, and in training too the running statistics, which stay, and no dropout. keeps_features: with kernels
    too the backbone gives the features, not their means, which is a little slower. The size of h and w:
    `Architecture.feature_size`.
    """

    def __init__(
        self,
        architecture: Architecture,
        include_top: bool = True,
        recompute: bool = False,
        seed: int = 0,
        norm_ranks: int = 1,
        kernels: str | None = None,
        kernel_precision: str = "fp32",
        keeps_features: bool = False,
        frozen_blocks: int = 0,
    ) -> None:
        super().__init__()
        self.architecture, self.kernels = architecture, kernels
        batch_norm = partial(_batch_norm, ranks=norm_ranks)
        pooled = include_top and not keeps_features
        self.backbone = _Backbone(
            architecture, batch_norm, recompute, seed, kernels, kernel_precision, pooled, frozen_blocks
        )
        self.head = _Head(self.backbone.out_channels, architecture.num_classes) if include_top else nn.Identity()
        initialise(self, seed)

    def followed_statistics(self) -> list[ms.Parameter]:
        """The running statistics that training changes: those of what is not frozen."""
        frozen = {parameter.name for parameter in self.backbone.frozen_parameters()}
        return [p for p in self.get_parameters() if ".moving_" in p.name and p.name not in frozen]

    @property
    def compile_phase(self):
        """The graph that was called last; MindSpore sets it, of a cell and of all that it is made of, at each call.

        Only parallel strategies read it, and only of the outermost cell. So it stays here: handing it on to hundreds of
        cells takes two milliseconds, a tenth of DenseNet-121's time for one image.
        """
        return self._compile_phase

    @compile_phase.setter
    def compile_phase(self, phase):
        object.__setattr__(self, "_compile_phase", phase)

    def to_float(self, dst_type):
        """Mixed precision as nn.Cell.to_float, but the head, cheap and the most sensitive, stays in float32."""
        super().to_float(dst_type)
        self.head.to_float(ms.float32)
        for _, cell in self.cells_and_names():
            if isinstance(cell, RecomputedBottleneck):
                cell.add_flags_recursive(fp16=False, bf16=False, fp32=False)
        return self

    def construct(self, images):
        """See the class."""
        return self.head(self.backbone(images))
