"""The exponential moving average (EMA) of a network's weights, whose network is often better than the last one."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops

from src.ops.average_op import AverageUpdate

PREFIX = "ema."  # of the averages' names: `ema.<parameter name>`
_follow = ops.MultitypeFuncGraph("follow_value")


@_follow.register("Tensor", "Tensor", "Tensor")
def _follow_one(share, average, value):
    return ops.assign_add(average, share * (value - average))


class WeightAverage(nn.Cell):
    """After the n-th update of the weights, for each weight w and each of batch normalisation's running statistics:

        average += (1 - min(decay, (1 + n) / (10 + n))) * (w - average)

    It begins with the first weights (`start`), which the warm-up of the decay makes it forget. The averages are
    Parameters `ema.<parameter name>`, and n is `ema_updates`; checkpoints save both. Statistics are averaged like
    weights: an average with the last weights' statistics is a network that nobody has trained. kernels: the library of
    operators for CPUs, which takes one pass over memory.
    """

    def __init__(self, network: nn.Cell, decay: float, kernels: str | None = None) -> None:
        super().__init__(auto_prefix=False)
        if not 0.0 < decay < 1.0:
            raise ValueError(f"decay is {decay}, expected 0 < decay < 1")
        # Integers are the counters of dropout.
        self.values = ms.ParameterTuple([p for p in network.get_parameters() if p.dtype == ms.float32])
        self.averages = self.values.clone(prefix=PREFIX.removesuffix("."), init="zeros")
        for average in self.averages:
            average.requires_grad = False
        self.updates = Parameter(Tensor(0, ms.int32), name="ema_updates", requires_grad=False)
        self.least_share = 1.0 - decay
        self.for_each = ops.HyperMap()
        self.fused = AverageUpdate(kernels) if kernels else None
        self.start()

    def own_parameters(self) -> list[Parameter]:
        """The averages and the number of updates."""
        return [*self.averages, self.updates]

    def start(self) -> None:
        """Begin the average anew with the present weights."""
        for average, value in zip(self.averages, self.values, strict=True):
            average.set_data(Tensor(value.asnumpy().copy()))
        self.updates.set_data(Tensor(0, ms.int32))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """While it is open the network has the averages for weights."""
        own = [value.asnumpy().copy() for value in self.values]
        try:
            for value, average in zip(self.values, self.averages, strict=True):
                value.set_data(Tensor(average.asnumpy().copy()))
            yield
        finally:
            for value, before in zip(self.values, own, strict=True):
                value.set_data(Tensor(before))

    def averages_of(self, values: Iterable[Parameter]) -> list[Parameter]:
        """The averages of some of the network's parameters."""
        names = {value.name for value in values}
        return [average for value, average in zip(self.values, self.averages, strict=True) if value.name in names]

    def take_statistics(self) -> None:
        """While `in_place` is open: have the averages of the running statistics be the network's present ones."""
        for value, average in zip(self.values, self.averages, strict=True):
            if ".moving_" in value.name:
                average.set_data(Tensor(value.asnumpy().copy()))

    def construct(self, updated):
        """updated: what says that the weights have been updated -> what to wait for with ops.depend."""
        updates = ops.depend(self.updates.value(), updated) + 1
        # 1 - (1 + n) / (10 + n), without the rounding of a difference of two numbers near 1.
        share = ops.maximum(9.0 / (10.0 + updates.astype(ms.float32)), Tensor(self.least_share, ms.float32))
        if self.fused is not None:
            followed = self.fused(share, self.averages, self.values)
        else:
            followed = self.for_each(ops.partial(_follow, share), self.averages, self.values)
        # Last: behind an assignment MindSpore gives readers copies of what operators of our own change in place.
        return ops.depend(followed, ops.assign(self.updates, ops.depend(updates, followed)))
