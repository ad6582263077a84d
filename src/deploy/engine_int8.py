"""INT8 for the CPU engine: the integers and scales of a network's convolutions, from its float32 ones. NumPy alone.

A convolution reads activations relu(scale * x + offset), rounded to 0 to 255. Each channel has a step of its own, which
divides the scale and the offset and multiplies the weights, so it costs nothing; half of the range, as a logarithm, is
left to the weights (Xiao et al. 2022, arXiv:2211.10438, section 4). Weights are symmetric with a scale for each output.
What rounding them shifts the mean of an output by is taken back (Nagel et al. 2019, arXiv:1906.04721, section 4.2).
The first convolution, the last normalisation and the classifier stay float32: they are few products, and images and
answers lose most by rounding.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from src.network.architecture import Architecture

LEVELS = 255  # the largest activation
MOST_TOGETHER = 128  # of four weights; src/ops/cpp/base/int8.h says which and why
_TOGETHER = 8  # inputs of which two such fours are made
_LARGEST = (127, 112, 96, 80, 72, 64, 56, 48)  # weights of an output that are tried for its scale
_LEAST = 1e-3  # of the largest range, where a channel was never seen to be more


@dataclass(frozen=True)
class Inputs:
    """What was measured of a convolution's input, for each of its C channels: float64 (C,)."""

    largest: np.ndarray
    mean: np.ndarray
    mean_square: np.ndarray


@dataclass(frozen=True)
class Convolution:
    """weights * steps = integers * scales, nearly: integers int8 (O, C, h, w), scales (O,), steps (C,).

    shift (O,): what the difference takes from the mean of each output.
    """

    integers: np.ndarray
    scales: np.ndarray
    steps: np.ndarray
    shift: np.ndarray


def quantized(
    tensors: Mapping[str, np.ndarray], inputs: Mapping[str, Inputs], arch: Architecture
) -> dict[str, np.ndarray]:
    """The engine's tensors with INT8 of those with float32 (`engine_file.folded`).

    inputs: of the convolutions, by their weights' names.
    """
    made = {name: value for name, value in tensors.items() if ".denseblock" not in name and ".transition" not in name}

    def of(convolution: str) -> Convolution:
        weights = f"{convolution}.weight"
        found = convolution_of(tensors[weights], inputs[weights])
        made[weights] = found.integers
        return found

    def norm(name: str, scale: np.ndarray, offset: np.ndarray) -> None:
        made[f"{name}.scale"], made[f"{name}.offset"] = scale.astype(np.float32), offset.astype(np.float32)

    def activations(name: str, steps: np.ndarray) -> None:
        norm(name, tensors[f"{name}.scale"] / steps, tensors[f"{name}.offset"] / steps)

    for block, layers in enumerate(arch.block_config, 1):
        for i in range(layers):
            layer = f"backbone.features.denseblock{block}.cell_list.{i}"
            first, second = of(f"{layer}.conv1"), of(f"{layer}.conv2")
            activations(f"{layer}.norm1", first.steps)
            offset = tensors[f"{layer}.norm2.offset"] + first.shift
            norm(f"{layer}.norm2", first.scales / second.steps, offset / second.steps)
            norm(f"{layer}.conv2", second.scales, second.shift)
        if block < len(arch.block_config):
            transition = f"backbone.features.transition{block}.features"
            conv = of(f"{transition}.conv")
            activations(f"{transition}.norm", conv.steps)
            norm(f"{transition}.conv", conv.scales, conv.shift)
    return made


def convolution_of(weights: np.ndarray, inputs: Inputs) -> Convolution:
    """The integers of `weights` (O, C, h, w) for activations as they were measured."""
    weights = weights.astype(np.float64)
    largest = _above_nothing(inputs.largest)
    steps = np.sqrt(largest / _above_nothing(np.abs(weights).max((0, 2, 3))))
    steps *= (largest / steps).max() / LEVELS
    scaled = weights * steps[:, None, None]
    integers, scales = _rounded(scaled, (inputs.mean_square / steps**2)[:, None, None])
    lost = (scaled - integers * scales[:, None, None, None]).sum((2, 3))
    return Convolution(integers.astype(np.int8), scales, steps, lost @ (inputs.mean / steps))


def _above_nothing(values: np.ndarray) -> np.ndarray:
    return np.maximum(values, _LEAST * values.max() or 1.0)


def _rounded(weights: np.ndarray, importance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Integers (O, C, h, w) and a scale for each O whose product is nearest to `weights`, errors weighed by importance.

    Small scales lose what does not fit, large ones round more.
    """
    reach = np.abs(weights).max((1, 2, 3))
    reach[reach == 0] = 1.0
    best = np.full(len(weights), np.inf)
    integers, scales = np.zeros_like(weights), np.ones(len(weights))
    for largest in _LARGEST:
        tried = reach / largest
        found = _fitting(np.rint(weights / tried[:, None, None, None]))
        error = (importance * (weights - found * tried[:, None, None, None]) ** 2).sum((1, 2, 3))
        better = error < best
        best[better], scales[better], integers[better] = error[better], tried[better], found[better]
    return integers, scales


def _fitting(integers: np.ndarray) -> np.ndarray:
    """The same, but nearer to 0 where four of one sign would be more than MOST_TOGETHER."""
    outputs, channels, *kernel = integers.shape
    whole = -(-channels // _TOGETHER) * _TOGETHER
    padded = np.zeros((outputs, whole, *kernel))
    padded[:, :channels] = integers
    fours = padded.reshape(outputs, whole // _TOGETHER, 2, 2, 2, *kernel)  # of an input's number the bits 2, 1, 0
    for sign in (1, -1):
        together = np.maximum(sign * fours, 0).sum((2, 4), keepdims=True)
        share = np.minimum(1.0, MOST_TOGETHER / np.maximum(together, 1.0))
        fours = np.where(sign * fours > 0, np.trunc(fours * share), fours)
    return fours.reshape(padded.shape)[:, :channels]
