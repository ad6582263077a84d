"""The running statistics of batch normalisation, counted anew for weights that do not change any more.

During training they follow the batches with a momentum: what they hold at its end is of the last few batches, and, when
the pictures' size has changed, partly of another size. Here they become the mean over many batches (precise batch
normalisation, Wu and Johnson 2021, section 3).
"""

from collections.abc import Sequence

import numpy as np
from mindspore import Parameter, Tensor

from src.model_utils.group import Group
from src.network.densenet import MOMENTUM, DenseNet
from src.utils.graph_cache import CachedCell, GraphCache
from src.utils.parameters import overwrite

BATCHES = 100


class StatisticsRefresh(CachedCell):
    """Takes batches of images, and gives `network` the mean of their statistics.

    construct(images (B, C, H, W) float32) -> logits, in training mode: the running statistics follow the batch.
    """

    def __init__(self, network: DenseNet, graph_cache: GraphCache | None = None) -> None:
        super().__init__(auto_prefix=False)
        self.graph_cache = graph_cache
        self.network = network
        self._running = network.followed_statistics()
        self._sums = [np.zeros(p.shape, np.float64) for p in self._running]
        self._count = 0

    def construct(self, images: Tensor) -> Tensor:
        """See the class."""
        return self.network(images)

    def take(self, images: np.ndarray) -> None:
        """Count a batch (B, C, H, W) in."""
        self.set_train(True)
        for parameter in self._running:
            parameter.set_data(Tensor(np.zeros(parameter.shape, np.float32)))
        self(Tensor(images)).asnumpy()
        for total, parameter in zip(self._sums, self._running, strict=True):
            total += parameter.asnumpy()
        self._count += 1

    def finish(self) -> None:
        """Give the network the means, and begin anew."""
        # From zero a batch's statistics come in with the weight 1 - momentum, which is that of all layers.
        for total, parameter in zip(self._sums, self._running, strict=True):
            mean = total / self._count / (1 - MOMENTUM)
            parameter.set_data(Tensor(mean.astype(np.float32)))
            total[:] = 0
        self._count = 0


def share_statistics(statistics: Sequence[Parameter], group: Group, *, mean: bool) -> None:
    """Give every rank the same running statistics, so that all evaluate the network that is saved. Collective.

    Each rank collects its own over its part of the images; they play no role in training. The master's are taken, or
    the `mean` over the ranks. The recursion that makes them is linear, so this mean is the same, up to rounding,
    however often it was taken before. So is that of the statistics' own average.
    """
    if not mean:
        group.share_parameters(list(statistics), in_use=True)
        return
    values = group.mean(np.concatenate([p.asnumpy() for p in statistics]))
    ends = np.cumsum([p.size for p in statistics])
    for parameter, value in zip(statistics, np.split(values, ends[:-1]), strict=True):
        overwrite(parameter, value.reshape(parameter.shape))
