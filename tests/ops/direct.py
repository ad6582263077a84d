"""The functions of src/ops/cpp/operators.cc called as MindSpore calls them, but directly: a shape takes milliseconds.

Each class is one operator. Arrays are in the order and the layout of float64.py: (N, C, H, W).

    train(inputs, parameters, running) -> outputs, running statistics, and what `backward` needs
    infer(inputs, parameters, running) -> the first output
    backward(inputs, parameters, saved, cotangents) -> gradients of the inputs and of the parameters
    infer_backward(inputs, parameters, running, output, cotangent) -> those of evaluation, of statistics none
"""

import ctypes
import math
import platform
from pathlib import Path

import numpy as np
from kernel_cases import random_states
from shared import kept_program

from src.network.dropout import dropout_of
from src.ops import build
from src.ops.compile import FLAGS
from src.ops.dense_ops import SPARE_PIXELS, pixel_stride

# This CPU's best first; of those of x86, one of each width of vectors.
INSTRUCTION_SETS = build.instruction_sets()[:1]
if platform.machine() == "x86_64" and INSTRUCTION_SETS != ["avx2"]:
    INSTRUCTION_SETS.append("avx2")
BF16_INSTRUCTION_SETS = [name for name in build.instruction_sets() if build.INSTRUCTION_SETS[name].has_bf16]

EMULATED = ["emulated amx_bf16", "emulated avx512_bf16"] if platform.machine() == "x86_64" else []
# What it defines says to the kernels' headers what there is.
EMULATING = ("-include", "immintrin.h")
# NumPy has no bfloat16.
TYPES = {"float32": b"float32", "uint16": b"bfloat16", "uint8": b"uint8", "int32": b"int32"}


def emulated_library(name):
    """The kernels with instructions that this CPU may not have, made of AVX2's (emulated/immintrin.h): slow."""
    flags = [*FLAGS, *build.INSTRUCTION_SETS["avx2"].flags, "-O0", "-Wno-psabi", *EMULATING]
    flags += [] if "amx" in name else ["-DEMULATED_WITHOUT_AMX"]
    folders = [Path(__file__).parent / "emulated", build.SOURCES]
    return kept_program(["g++"], flags, folders, *sorted(build.SOURCES.rglob("*.cc")), in_one_text=True)


def pack(features):
    """(N, C, H, W) as the operators have it, in whose padding there is nothing to be read."""
    n, channels, height, width = features.shape
    packed = np.full((n, height, width, pixel_stride(channels)), np.nan, np.float32)
    packed[..., :channels] = features.transpose(0, 2, 3, 1)
    return packed


def unpack(packed, channels):
    return made(packed)[..., :channels].transpose(0, 3, 1, 2)


def made(tensor):
    """What an operator made, from where the tensor's mark says that it starts (kMark in cpp/map/feature_map.h)."""
    mark = int(tensor.reshape(-1).view(np.uint32)[-1])
    assert mark & ~63 == 0x7FC5A500, "an operator's output says nowhere where it starts"
    return np.roll(tensor.reshape(-1), -(mark & 63) // tensor.itemsize).reshape(tensor.shape)


class _Operator:
    def __init__(self, library: ctypes.CDLL) -> None:
        self.library = library

    def call(self, function, inputs, shapes, running=(), types=None):
        """Outputs of these shapes and types, NaN or 0 where nothing is written. Only `running` changes."""
        outputs = [
            np.full(shape, np.nan if of is np.float32 else 0, of)
            for shape, of in zip(shapes, types or [np.float32] * len(shapes), strict=True)
        ]
        before = [array.copy() for array in inputs]
        arrays = [np.ascontiguousarray(array) for array in inputs] + [*running, *outputs]
        count = len(arrays)
        data = (ctypes.c_void_p * count)(*(array.ctypes.data for array in arrays))
        ranks = (ctypes.c_int * count)(*(array.ndim for array in arrays))
        dims = [(ctypes.c_int64 * array.ndim)(*array.shape) for array in arrays]
        pointers = (ctypes.POINTER(ctypes.c_int64) * count)(*dims)
        names = (ctypes.c_char_p * count)(*(TYPES[array.dtype.name] for array in arrays))
        assert getattr(self.library, function)(count, data, ranks, pointers, names, None, None) == 0
        for array, was in zip(arrays[: len(before)], before, strict=True):
            assert np.array_equal(array, was, equal_nan=True), f"{function} changed an input"
        return outputs

    def call_train(self, function, inputs, running, shapes, types=None, states=()):
        running = [statistic.copy() for pair in running for statistic in pair]
        outputs = self.call(function, inputs, shapes, [*running, *states], types)
        return outputs, [np.stack(running[i : i + 2]) for i in range(0, len(running), 2)]

    def call_infer(self, function, inputs, running, shapes, types=None):
        arguments = [*inputs, *(statistic for pair in running for statistic in pair)]
        return self.call(function, arguments, shapes, types=types)


class Stem(_Operator):
    def __init__(self, library: ctypes.CDLL, pool: str, precision: str) -> None:
        super().__init__(library)
        self.kind = f"{pool}_{precision}"

    @staticmethod
    def shapes(images, conv):
        """Of y and convolved."""
        step = 2 if conv.shape[2] == 7 else 1
        size = [(length - 1) // step + 1 for length in images.shape[2:]]
        stride = pixel_stride(len(conv))
        pooled = [(length - 1) // step + 1 for length in size]
        return (len(images), *pooled, stride), (len(images), *size, stride)

    def train(self, inputs, parameters, running):
        channels = len(parameters[0])
        y, convolved = self.shapes(*inputs, parameters[0])
        pooled = [y, (*y[:3], (channels + 15) // 16 * 16)] if parameters[0].shape[2] == 7 else [(1,), (1,)]
        shapes = [y, (2, channels), convolved, (2, channels), *pooled]
        types = [np.float32] * 5 + [np.uint8]
        saved, followed = self.call_train(f"stem_train_{self.kind}", [*inputs, *parameters], running, shapes, types)
        return [unpack(saved[0], channels), saved[1]], followed, saved

    def infer(self, inputs, parameters, running):
        shapes = [self.shapes(*inputs, parameters[0])[0]]
        (y,) = self.call_infer(f"stem_infer_{self.kind}", [*inputs, *parameters], running, shapes)
        return unpack(y, len(parameters[0]))

    def backward(self, inputs, parameters, saved, cotangents):
        d_y, d_stats = cotangents
        arguments = [*inputs, *parameters, *saved[1:], pack(d_y), d_stats]
        shapes = [*(array.shape for array in parameters), saved[0].shape]
        *gradients, d_relu = self.call(f"stem_backward_{self.kind}", arguments, shapes)
        _, _, convolved, conv_stats, _, indices = saved
        return self.of_images(inputs, parameters, convolved, conv_stats, indices, *gradients[1:], d_relu) + gradients

    def infer_backward(self, inputs, parameters, running, _, d_y):
        channels = len(parameters[0])
        y, convolved = self.shapes(*inputs, parameters[0])
        pooled = [y, (*y[:3], (channels + 15) // 16 * 16)] if parameters[0].shape[2] == 7 else [(1,), (1,)]
        shapes = [*(array.shape for array in parameters), y, convolved, (2, channels), *pooled]
        arguments, types = [*inputs, *parameters, *running[0], pack(d_y)], [np.float32] * 7 + [np.uint8]
        made = self.call(f"stem_infer_backward_{self.kind}", arguments, shapes, types=types)
        *gradients, d_relu, convolved, conv_stats, _, indices = made
        none = np.zeros_like(gradients[1])
        return self.of_images(inputs, parameters, convolved, conv_stats, indices, none, none, d_relu) + gradients

    def of_images(self, inputs, parameters, *rest):
        name = f"stem_images_backward_{self.kind}"
        return self.call(name, [*inputs, *parameters, *rest], [inputs[0].shape])


class Block(_Operator):
    """precision: fp32 or bf16, whose bottlenecks are numbers of 16 bits that NumPy does not know.

    drop_rate: in training, with `random_states`.
    """

    def __init__(self, library: ctypes.CDLL, precision: str, drop_rate: float = 0.0) -> None:
        super().__init__(library)
        self.precision, self.stored = precision, np.uint16 if precision == "bf16" else np.float32
        self.kind, self.dropout = precision, []
        if drop_rate:
            lowest_kept, scale = dropout_of(drop_rate)
            self.kind = f"drop_{precision}"
            self.dropout = [np.array([lowest_kept], np.int32), np.array([scale], np.float32)]

    @staticmethod
    def shapes(x, parameters):
        """Of the features, their statistics, the bottlenecks and theirs."""
        layers, (growth, width) = len(parameters) // 6, parameters[5].shape[:2]
        channels, area = x.shape[1] + layers * growth, (len(x), *x.shape[2:])
        bottlenecks = (layers * math.prod(area) + SPARE_PIXELS, (width + 15) // 16 * 16)
        return (*area, pixel_stride(channels)), (2, channels), bottlenecks, (layers, 2, width)

    def train(self, inputs, parameters, running):
        x, stats = inputs
        shapes, types = self.shapes(x, parameters), [np.float32, np.float32, self.stored, np.float32]
        states = random_states(len(parameters) // 6) if self.dropout else []
        if self.dropout:
            shapes, types = (*shapes, (len(states), 2)), [*types, np.int32]
        arguments = [pack(x), stats, *self.dropout, *parameters]
        saved, followed = self.call_train(f"block_train_{self.kind}", arguments, running, shapes, types, states)
        for state, before in zip(states, random_states(len(states)), strict=True):
            assert (state - before).tolist() == [0, 1], "a layer's random_state does not count the calls"
        return [unpack(saved[0], shapes[1][1]), saved[1]], followed, saved

    def infer(self, inputs, parameters, running):
        features, stats, bottlenecks, _ = self.shapes(inputs[0], parameters)
        shapes, types = [features, (math.prod(features[:3]) + SPARE_PIXELS, bottlenecks[1])], [np.float32, self.stored]
        arguments = [pack(inputs[0]), *parameters]
        found = self.call_infer(f"block_infer_{self.precision}", arguments, running, shapes, types)
        return unpack(found[0], stats[1])

    def backward(self, inputs, parameters, saved, cotangents):
        x, stats = inputs
        d_features, d_stats = cotangents
        shapes = [pack(x).shape, stats.shape, *(array.shape for array in parameters)]
        shapes += [saved[0].shape, (math.prod(saved[0].shape[:3]) + SPARE_PIXELS, saved[2].shape[1])]
        arguments = [*saved, *self.dropout, pack(d_features), d_stats, *parameters]
        types = [np.float32] * (len(shapes) - 1) + [self.stored]
        found = self.call(f"block_backward_{self.kind}", arguments, shapes, types=types)
        return [unpack(found[0], x.shape[1]), *found[1:-2]]

    def infer_backward(self, inputs, parameters, running, features, d_features):
        shape, _, bottlenecks, _ = self.shapes(inputs[0], parameters)
        one = (math.prod(shape[:3]) + SPARE_PIXELS, bottlenecks[1])
        shapes = [pack(inputs[0]).shape, *(array.shape for array in parameters), shape, one, one]
        statistics = [statistic for pair in running for statistic in pair]
        arguments = [pack(features), pack(d_features), *parameters, *statistics]
        types = [np.float32] * (len(shapes) - 2) + [self.stored] * 2
        found = self.call(f"block_infer_backward_{self.precision}", arguments, shapes, types=types)
        return [unpack(found[0], inputs[0].shape[1]), *found[1:-3]]


class Transition(_Operator):
    def __init__(self, library: ctypes.CDLL, pool: str, precision: str) -> None:
        super().__init__(library)
        self.pool, self.kind = pool, f"{pool}_{precision}"

    @staticmethod
    def y_shape(x, conv):
        return (len(x), x.shape[2] // 2, x.shape[3] // 2, pixel_stride(len(conv)))

    def train(self, inputs, parameters, running):
        x, stats = inputs
        channels = len(parameters[2])
        y = self.y_shape(x, parameters[2])
        shapes = [y, (2, channels), (*y[:3], (channels + 15) // 16 * 16) if self.pool == "max" else (1,)]
        arguments, types = [pack(x), stats, *parameters], [np.float32, np.float32, np.uint8]
        saved, followed = self.call_train(f"transition_train_{self.kind}", arguments, running, shapes, types)
        return [unpack(saved[0], channels), saved[1]], followed, saved

    def infer(self, inputs, parameters, running):
        shapes = [self.y_shape(inputs[0], parameters[2])]
        (y,) = self.call_infer(f"transition_infer_{self.kind}", [pack(inputs[0]), *parameters], running, shapes)
        return unpack(y, len(parameters[2]))

    def backward(self, inputs, parameters, saved, cotangents):
        x, stats = inputs
        d_y, d_stats = cotangents
        shapes = [pack(x).shape, stats.shape, *(array.shape for array in parameters)]
        arguments = [pack(x), stats, *saved, pack(d_y), d_stats, *parameters]
        d_x, *gradients = self.call(f"transition_backward_{self.kind}", arguments, shapes)
        return [unpack(d_x, x.shape[1]), *gradients]

    def infer_backward(self, inputs, parameters, running, y, d_y):
        x, shape = inputs[0], self.y_shape(inputs[0], parameters[2])
        chosen = (*shape[:3], (y.shape[1] + 15) // 16 * 16) if self.pool == "max" else (1,)
        shapes = [pack(x).shape, *(array.shape for array in parameters), chosen]
        arguments, types = [pack(x), pack(y), pack(d_y), *parameters, *running[0]], [np.float32] * 4 + [np.uint8]
        d_x, *gradients, _ = self.call(f"transition_infer_backward_{self.kind}", arguments, shapes, types=types)
        return [unpack(d_x, x.shape[1]), *gradients]


class Final(_Operator):
    def __init__(self, library: ctypes.CDLL, pool: bool) -> None:
        super().__init__(library)
        self.name, self.pool = "final_pool" if pool else "final", pool

    def y_shape(self, x):
        return x.shape[:2] if self.pool else x.shape

    def train(self, inputs, parameters, running):
        x, stats = inputs
        y, followed = self.call_train(f"{self.name}_train", [pack(x), stats, *parameters], running, [self.y_shape(x)])
        return y, followed, []

    def infer(self, inputs, parameters, running):
        x = inputs[0]
        (y,) = self.call_infer(f"{self.name}_infer", [pack(x), *parameters], running, [self.y_shape(x)])
        return y

    def backward(self, inputs, parameters, _, cotangents):
        x, stats = inputs
        shapes = [pack(x).shape, stats.shape, *(array.shape for array in parameters)]
        d_x, *gradients = self.call(f"{self.name}_backward", [pack(x), stats, *cotangents, *parameters], shapes)
        return [unpack(d_x, x.shape[1]), *gradients]

    def infer_backward(self, inputs, parameters, running, _, d_y):
        x = inputs[0]
        shapes = [pack(x).shape, *(array.shape for array in parameters)]
        arguments = [pack(x), d_y, *parameters, *running[0]]
        d_x, *gradients = self.call(f"{self.name}_infer_backward", arguments, shapes)
        return [unpack(d_x, x.shape[1]), *gradients]
