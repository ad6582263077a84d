"""A network without batch normalisation, so small that every number of a step can be computed beside it."""

import numpy as np
from mindspore import Tensor, nn

from src.losses.crossentropy import CrossEntropy
from src.optimizers.average import WeightAverage
from src.optimizers.sgd import SGD
from src.training.step import TrainStep

CLASSES, SIZE, FEATURES = 3, 2, 12


class Linear(nn.Cell):
    """images (N, 3, 2, 2) -> logits (N, 3), from weights that are the same each time."""

    def __init__(self) -> None:
        super().__init__()
        weight = np.random.default_rng(7).normal(size=(CLASSES, FEATURES)).astype(np.float32)
        self.fc = nn.Dense(FEATURES, CLASSES, weight_init=Tensor(weight), bias_init="zeros")

    def construct(self, images):
        return self.fc(images.reshape(images.shape[0], -1))


def make_step(momentum: float = 0.9, kernels: str | None = None, ema_decay: float = 0.0, **options) -> TrainStep:
    """A TrainStep of the linear network."""
    network = Linear()
    optimizer = SGD(network.trainable_params(), momentum=momentum, weight_decay=1e-4, kernels=kernels)
    if ema_decay:
        options["average"] = WeightAverage(network, ema_decay, kernels)
    return TrainStep(network, CrossEntropy(), optimizer, **options)


def make_data(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """images (count, 3, 2, 2) and labels (count,)."""
    random = np.random.default_rng(seed)
    images = random.normal(size=(count, 3, SIZE, SIZE)).astype(np.float32)
    return images, random.integers(0, CLASSES, count).astype(np.int32)


def values(step: TrainStep) -> dict[str, np.ndarray]:
    """Everything a checkpoint would hold."""
    return {parameter.name: parameter.asnumpy().copy() for parameter in step.saved_parameters()}
