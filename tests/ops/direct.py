"""The functions of src/ops/cpp/operators.cc called as MindSpore calls them, but directly: a shape takes milliseconds.

Each class is one operator. Arrays are in the order and the layout of float64.py: (N, C, H, W).

    train(inputs, parameters, running) -> outputs, running statistics, and what `backward` needs
    infer(inputs, parameters, running) -> the first output
    backward(inputs, parameters, saved, cotangents) -> gradients of the inputs, a stem's apart, and of the parameters
"""

import ctypes
import math
import platform
from pathlib import Path

import numpy as np
from shared import kept_program

from src.ops import build
from src.ops.compile import FLAGS
from src.ops.dense_ops import SPARE_PIXELS, pixel_stride

# This CPU's best first; of those of x86, one of each width of vectors.
INSTRUCTION_SETS = build.instruction_sets()[:1]
if platform.machine() == "x86_64" and INSTRUCTION_SETS != ["avx2"]:
    INSTRUCTION_SETS.append("avx2")
BF16_INSTRUCTION_SETS = [name for name in build.instruction_sets() if build.INSTRUCTION_SETS[name].has_bf16]

EMULATED = ["emulated amx_bf16", "emulated avx512_bf16"] if platform.machine() == "x86_64" else []
# NumPy has no bfloat16.
TYPES = {"float32": b"float32", "uint16": b"bfloat16", "uint8": b"uint8"}


def emulated_library(name):
    """The kernels with instructions that this CPU may not have, made of AVX2's (emulated/immintrin.h): slow."""
    flags = [*FLAGS, *build.INSTRUCTION_SETS["avx2"].flags, "-O0", "-Wno-psabi"]
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

    def call_train(self, function, inputs, running, shapes, types=None):
        running = [statistic.copy() for pair in running for statistic in pair]
        outputs = self.call(function, inputs, shapes, running, types)
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
        return self.call(f"stem_backward_{self.kind}", arguments, shapes)[:-1]


class Block(_Operator):
    """precision: fp32 or bf16, whose bottlenecks are numbers of 16 bits that NumPy does not know."""

    def __init__(self, library: ctypes.CDLL, precision: str) -> None:
        super().__init__(library)
        self.precision, self.stored = precision, np.uint16 if precision == "bf16" else np.float32

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
        arguments = [pack(x), stats, *parameters]
        saved, followed = self.call_train(f"block_train_{self.precision}", arguments, running, shapes, types)
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
        arguments, types = [*saved, pack(d_features), d_stats, *parameters], [np.float32] * (len(shapes) - 1)
        found = self.call(f"block_backward_{self.precision}", arguments, shapes, types=[*types, self.stored])
        return [unpack(found[0], x.shape[1]), *found[1:-2]]


class Transition(_Operator):
    def __init__(self, library: ctypes.CDLL, precision: str) -> None:
        super().__init__(library)
        self.precision = precision

    @staticmethod
    def y_shape(x, conv):
        return (len(x), x.shape[2] // 2, x.shape[3] // 2, pixel_stride(len(conv)))

    def train(self, inputs, parameters, running):
        x, stats = inputs
        channels = len(parameters[2])
        shapes = [self.y_shape(x, parameters[2]), (2, channels)]
        arguments = [pack(x), stats, *parameters]
        saved, followed = self.call_train(f"transition_train_{self.precision}", arguments, running, shapes)
        return [unpack(saved[0], channels), saved[1]], followed, saved

    def infer(self, inputs, parameters, running):
        shapes = [self.y_shape(inputs[0], parameters[2])]
        (y,) = self.call_infer(f"transition_infer_{self.precision}", [pack(inputs[0]), *parameters], running, shapes)
        return unpack(y, len(parameters[2]))

    def backward(self, inputs, parameters, saved, cotangents):
        x, stats = inputs
        d_y, d_stats = cotangents
        shapes = [pack(x).shape, stats.shape, *(array.shape for array in parameters)]
        arguments = [pack(x), stats, *saved, pack(d_y), d_stats, *parameters]
        d_x, *gradients = self.call(f"transition_backward_{self.precision}", arguments, shapes)
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
