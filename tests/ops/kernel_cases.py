"""The shapes in which the operators of src/ops/cpp are compared with float64, and what they are given."""

from itertools import cycle
from typing import NamedTuple

import numpy as np


class Case(NamedTuple):
    """An operator and its shapes. channels: of the input or, of a stem, the output.

    detail: kernel and pool of a stem; growth, bn_size, layers and perhaps drop_rate of a block; out_channels and pool
    of a transition. `final_pool` is the final norm with its pool.
    """

    operator: str
    batch: int
    height: int
    width: int
    channels: int
    detail: tuple = ()

    def __str__(self) -> str:
        return "-".join(map(str, [*self[:5], *self.detail]))


SIZES = ((7, 5), (2, 9), (12, 8), (1, 17), (5, 16), (6, 1), (3, 3))

CHANNELS = (3, 24, 64, 250, 256)


def block_grid():
    """Each growth with each number of channels, and each bn_size with each of either."""
    batches, sizes, layers = cycle((1, 2, 5)), cycle(SIZES), cycle((1, 2, 1, 4))
    for i, growth in enumerate((1, 7, 12, 32, 48)):
        for j, channels in enumerate(CHANNELS):
            bn_size = 1 + (i + j) % 4
            yield Case("block", next(batches), *next(sizes), channels, (growth, bn_size, next(layers)))


def transition_grid():
    batches, sizes = cycle((2, 1, 5)), cycle(((7, 5), (2, 9), (12, 8), (5, 16), (3, 3), (2, 2)))
    for channels in CHANNELS:
        for out_channels in (1, 12, 128, 250, 256):
            yield Case("transition", next(batches), *next(sizes), channels, (out_channels, "avg"))


STEM_SHAPES = [(1, 7, 5, 24), (5, 1, 1, 3), (2, 32, 30, 16), (1, 45, 45, 24), (2, 12, 11, 250), (5, 2, 9, 64)]

DROPPING = [
    Case("block", 2, 12, 11, 24, (12, 4, 2, 0.3)),
    Case("block", 5, 3, 3, 3, (1, 1, 4, 0.5)),
    Case("block", 1, 45, 45, 64, (48, 1, 2, 0.1)),
]

CASES = [
    *(Case("stem", *shape, (3, "pad")) for shape in STEM_SHAPES),
    *(Case("stem", *shape, (7, pool)) for pool in ("pad", "same") for shape in STEM_SHAPES),
    *block_grid(),
    Case("block", 5, 1, 1, 24, (12, 4, 3)),
    Case("block", 1, 45, 45, 64, (32, 4, 2)),
    Case("block", 2, 45, 45, 24, (12, 4, 4)),
    Case("block", 2, 14, 14, 250, (32, 4, 8)),
    Case("block", 2, 9, 7, 24, (12, 4, 16)),
    *DROPPING,
    *transition_grid(),
    *(case._replace(detail=(case.detail[0], "max")) for case in list(transition_grid())[::4]),
    *(Case("transition", 2, 45, 45, 250, (125, pool)) for pool in ("avg", "max")),
    *(
        Case(final, batch, *size, c)
        for final in ("final", "final_pool")
        for batch, size, c in zip(cycle((1, 2, 5)), SIZES, cycle(CHANNELS), strict=False)
    ),
    Case("final", 5, 1, 1, 256),
    Case("final", 2, 45, 45, 342),
]


def draw(random, case, mean=0.0, deviation=1.0):
    """Inputs, parameters and running statistics."""

    def normal(*shape):
        return random.standard_normal(shape, np.float32)

    def conv(out, channels, kernel):
        return normal(out, channels, kernel, kernel) / np.float32(np.sqrt(channels) * kernel)

    def norm(channels):
        return [
            random.uniform(0.5, 1.5, channels).astype(np.float32) * np.sign(normal(channels)),
            0.5 * normal(channels),
        ]

    channels = case.channels
    x = normal(case.batch, 3 if case.operator == "stem" else channels, case.height, case.width)
    x = np.float32(mean + deviation * x)
    inputs = [x, np.stack([x.mean((0, 2, 3), np.float64), x.var((0, 2, 3), np.float64)]).astype(np.float32)]
    if case.operator == "stem":
        inputs.pop()
        parameters = [conv(channels, 3, case.detail[0]), *norm(channels)]
    elif case.operator == "block":
        growth, bn_size, layers = case.detail[:3]
        parameters = []
        for width in range(channels, channels + layers * growth, growth):
            bottleneck = bn_size * growth
            parameters += [*norm(width), conv(bottleneck, width, 1), *norm(bottleneck), conv(growth, bottleneck, 3)]
    elif case.operator == "transition":
        parameters = [*norm(channels), conv(case.detail[0], channels, 1)]
    else:
        parameters = norm(channels)
    running = []
    for at in norms_at(case, parameters):
        features = len(parameters[at])
        running.append(np.stack([0.3 * normal(features), random.uniform(0.5, 2, features)]).astype(np.float32))
    return inputs, parameters, running


def random_states(layers):
    """Of the dropouts of a block's layers: keys, and numbers of calls."""
    return [np.array([2**31 - 1 - 5 * layer, 7 * layer], np.int32) for layer in range(layers)]


def drop_factors(shape, rate, key, calls):
    """What dropout multiplies an (N, C, H, W) map by; as src/network/dropout.py defines it."""

    def mixed(x):
        x = x * np.uint32(0x7FEB352D)
        return x ^ (x >> np.uint32(15))

    with np.errstate(over="ignore"):
        call = mixed(mixed(np.uint32(key & 0xFFFFFFFF)) + np.uint32(calls))
        hashes = mixed(mixed(mixed(np.arange(np.prod(shape), dtype=np.uint32)) ^ call)).view(np.int32)
    return np.where(hashes >= round(rate * 2**32) - 2**31, 1 / (1 - rate), 0.0).reshape(shape)


def norms_at(case, parameters):
    """Where the gammas are; a beta follows each."""
    return [1] if case.operator == "stem" else range(0, len(parameters), 3)
