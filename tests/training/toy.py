"""A network without batch normalisation, so small that every number of a step can be computed beside it."""

from collections import Counter

import numpy as np
from mindspore import Tensor, nn

from src.losses.crossentropy import CrossEntropy
from src.optimizers.average import WeightAverage
from src.optimizers.sgd import SGD
from src.training import step as step_module
from src.training.step import TrainStep
from src.utils.parameters import overwrite

CLASSES, SIZE, FEATURES = 3, 2, 12
_made: dict[tuple, list[tuple[TrainStep, list[np.ndarray]]]] = {}  # with their first values
_in_use: Counter = Counter()


class Linear(nn.Cell):
    """images (N, 3, 2, 2) -> logits (N, 3), from weights that are the same each time."""

    def __init__(self) -> None:
        super().__init__()
        weight = np.random.default_rng(7).normal(size=(CLASSES, FEATURES)).astype(np.float32)
        self.fc = nn.Dense(FEATURES, CLASSES, weight_init=Tensor(weight), bias_init="zeros")

    def construct(self, images):
        return self.fc(images.reshape(images.shape[0], -1))


def make_step(
    momentum: float = 0.9, kernels: str | None = None, ema_decay: float = 0.0, loaded: bool = True, **options
) -> TrainStep:
    """A TrainStep of the linear network with its first values, compiled by an earlier test if one had the same options.

    loaded: it may get the values of a checkpoint, after which a compiled graph with branches would go on from others
    (see `overwrite`): such a step is a new one.
    """
    has_branches = ema_decay or "scaling" in options or options.get("accumulation_steps", 1) > 1
    key = (momentum, kernels, ema_decay, step_module.SCALE_WINDOW, *sorted(options.items()))
    if loaded and has_branches:
        return new_step(momentum, kernels, ema_decay, **options)
    steps = _made.setdefault(key, [])
    _in_use[key] += 1
    if _in_use[key] > len(steps):
        step = new_step(momentum, kernels, ema_decay, **options)
        steps.append((step, [parameter.asnumpy().copy() for parameter in step.get_parameters()]))
    step, first = steps[_in_use[key] - 1]
    for parameter, value in zip(step.get_parameters(), first, strict=True):
        overwrite(parameter, value)
    return step.set_train(True)


def give_back() -> None:
    """The steps that were made are not used any more."""
    _in_use.clear()


def new_step(momentum: float = 0.9, kernels: str | None = None, ema_decay: float = 0.0, **options) -> TrainStep:
    """One that is not compiled yet."""
    network = Linear()
    optimizer = SGD(network.trainable_params(), momentum=momentum, weight_decay=1e-4, kernels=kernels)
    if ema_decay:
        options = {**options, "average": WeightAverage(network, ema_decay, kernels)}
    return TrainStep(network, CrossEntropy(), optimizer, **options)


def make_data(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """images (count, 3, 2, 2) and labels (count,)."""
    random = np.random.default_rng(seed)
    images = random.normal(size=(count, 3, SIZE, SIZE)).astype(np.float32)
    return images, random.integers(0, CLASSES, count).astype(np.int32)


def values(step: TrainStep) -> dict[str, np.ndarray]:
    """Everything a checkpoint would hold."""
    return {parameter.name: parameter.asnumpy().copy() for parameter in step.saved_parameters()}
