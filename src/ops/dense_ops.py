"""The parts of a DenseNet as single operators on a CPU: cells around the functions of cpp/operators.cc.

A feature map between them is channels last, (N, H, W, stride) float32, with `pixel_stride(C)` floats from one pixel's C
channels to the next, and goes with its statistics (2, C): mean and biased variance over N, H and W. It starts at a
cache line of its tensor, which its last value tells (kMark in cpp/map/feature_map.h). The statistics are an output like
any other: what the normalisations that read a feature owe to its mean and variance is *their* gradient.

Each cell takes the parameters of the plain network's cells. In training (`self.training`) it updates the running
statistics in place; else it uses them, and keeps nothing for its gradients: what they need is made again.
"""

import ctypes

import mindspore as ms
from mindspore import nn, ops

from src.ops.signatures import SIGNATURES

_LINE = 16  # floats in a cache line
SPARE_PIXELS = 4  # so that the bottlenecks may start later in their tensor, see kMark in cpp/map/feature_map.h
# A primitive: the function ops.zeros_like does not compile inside a bprop.
_zeros_like = ops.ZerosLike()


def pixel_stride(channels: int) -> int:
    """Floats between two pixels of a feature map of `channels`; the same as in cpp/base/layout.h."""
    width = _padded(channels) + _LINE
    return width + _LINE if width % 256 == 0 else width


def _padded(channels):
    return (channels + _LINE - 1) // _LINE * _LINE


def _map_like(shape, channels):
    return [shape[0], shape[1], shape[2], pixel_stride(channels)]


def operator(library, function, infer_shapes, types):
    """infer_shapes(*shapes of the inputs) -> shape of the only output, or a tuple; types: of all inputs -> the same."""
    check_signature(library, function)
    return ops.Custom(f"{library}:{function}", infer_shapes, types, func_type="aot")


def check_signature(library, function):
    """Raise RuntimeError when the library's function takes or makes something else than SIGNATURES says."""
    name = function.replace("final_pool", "final")
    name = max((known for known in SIGNATURES if name.startswith(known)), key=len)  # without pool and precision
    signature_of = ctypes.CDLL(library).operator_signature
    signature_of.restype = ctypes.c_char_p
    found = signature_of(function.encode())
    if found != SIGNATURES[name].encode():
        raise RuntimeError(f"{library} has another operator {function} than src/ops/signatures.py: {found!r}")


def floats(count):
    """Types of `count` outputs."""

    def types(*_):
        return ms.float32 if count == 1 else (ms.float32,) * count

    return types


def _no_gradient(running):
    zeros = ()
    for statistic in running:
        zeros += (_zeros_like(statistic),)
    return zeros


class Measure(nn.Cell):
    """x, a feature map without statistics, as in evaluation, and a gamma (C,) that reads it -> its statistics (2, C).

    Nothing has gradients.
    """

    def __init__(self, library: str) -> None:
        super().__init__()
        self.measure_op = operator(library, "map_measure", lambda _, gamma: [2, gamma[0]], floats(1))

    def construct(self, x, gamma):
        """See the class."""
        return self.measure_op(x, gamma)


class Stem(nn.Cell):
    """conv7x7 of stride 2, BN-ReLU and max pool, or, for a 3x3 kernel, conv3x3 and BN-ReLU.

    images (N, 3, H, W), parameters (conv, gamma, beta), running (mean, variance) -> y, its statistics; then what the
    backward pass needs. stem_pool: see `Architecture`. precision: fp32 or bf16, the numbers that the convolution
    multiplies.
    """

    def __init__(self, library: str, stem_pool: str, precision: str) -> None:
        super().__init__()

        def shapes(images, conv):
            step = 2 if conv[2] == 7 else 1
            size = [(length - 1) // step + 1 for length in images[2:]]
            pooled = [(length + 1) // 2 for length in size] if conv[2] == 7 else size
            return [images[0], *pooled, pixel_stride(conv[0])], [images[0], *size, pixel_stride(conv[0])]

        def saved(images, conv):
            y, convolved = shapes(images, conv)
            pooled = (y, [*y[:3], _padded(conv[0])]) if conv[2] == 7 else ([1], [1])
            return (convolved, [2, conv[0]], *pooled)

        def train_shapes(images, conv, *_):
            return (shapes(images, conv)[0], [2, conv[0]], *saved(images, conv))

        def infer_shapes(images, conv, *_):
            return shapes(images, conv)[0]

        def gradient_shapes(*inputs):
            return (*inputs[1:4], inputs[9])

        def infer_gradient_shapes(images, conv, gamma, beta, *_):
            return (conv, gamma, beta, shapes(images, conv)[0], *saved(images, conv))

        def ends_with_indices(count):
            def types(*_):
                return (ms.float32,) * (count - 1) + (ms.uint8,)

            return types

        def op(name, shapes, types):
            return operator(library, f"stem_{name}_{stem_pool}_{precision}", shapes, types)

        self.train_op = op("train", train_shapes, ends_with_indices(6))
        self.infer_op = op("infer", infer_shapes, floats(1))
        self.backward_op = op("backward", gradient_shapes, floats(4))
        self.infer_backward_op = op("infer_backward", infer_gradient_shapes, ends_with_indices(8))
        self.images_backward_op = op("images_backward", lambda images, *_: images, floats(1))

    def construct(self, images, parameters, running):
        """See the class."""
        if self.training:
            return self.train_op(images, *parameters, *running)
        # A running mean in place of statistics, which nobody reads then.
        return self.infer_op(images, *parameters, *running), running[0]

    def bprop(self, images, parameters, running, out, dout):
        """Gradients of construct's inputs; the running statistics have none."""
        if self.training:
            d_conv, d_gamma, d_beta, d_relu = self.backward_op(images, *parameters, *out[1:], dout[0], dout[1])
            convolved, conv_stats, indices = out[2], out[3], out[5]
            of_statistics = d_gamma, d_beta
        else:
            made = self.infer_backward_op(images, *parameters, *running, dout[0])
            d_conv, d_gamma, d_beta, d_relu, convolved, conv_stats, _, indices = made
            of_statistics = _zeros_like(d_gamma), _zeros_like(d_beta)
        # An operator of its own, which a compiled graph leaves out where nobody asks for it.
        d_images = self.images_backward_op(images, *parameters, convolved, conv_stats, indices, *of_statistics, d_relu)
        return d_images, (d_conv, d_gamma, d_beta), _no_gradient(running)


class DenseBlock(nn.Cell):
    """x, x_stats, parameters (6 a layer), running (4 a layer) -> features, their statistics; then what backward needs.

    parameters: gamma1, beta1, conv1, gamma2, beta2, conv2; running: mean1, variance1, mean2, variance2. precision: fp32
    or bf16, the numbers that the convolutions multiply; sums, features and gradients are float32. dropout: of what
    layers add in training, as src/network/dropout.py has it: the lowest hash that keeps its number, and what that is
    multiplied by. Each layer's random_state (2,) int32 then follows in running, and counts the calls.
    """

    def __init__(self, library: str, precision: str, dropout: tuple[int, float] | None = None) -> None:
        super().__init__()
        stored = ms.bfloat16 if precision == "bf16" else ms.float32
        self.dropout = ()
        if dropout:
            self.dropout = ms.Tensor([dropout[0]], ms.int32), ms.Tensor([dropout[1]], ms.float32)
        shared, states, draws = (2, 1, 1) if dropout else (0, 0, 0)  # more tensors: in all, of a layer, made

        def made(x, layers, parameters):
            """The features' shape, their channels, the pixels and the bottlenecks' width."""
            width, growth = parameters[2][0], parameters[5][0]
            channels = parameters[0][0] + layers * growth
            return _map_like(x, channels), channels, x[0] * x[1] * x[2], width

        def bottlenecks(pixels, width):
            return [pixels + SPARE_PIXELS, _padded(width)]

        def train_shapes(x, _, *rest):
            layers = (len(rest) - shared) // (10 + states)
            features, channels, pixels, width = made(x, layers, rest[shared:])
            kept = bottlenecks(layers * pixels, width), [layers, 2, width]
            return (features, [2, channels], *kept, *([[layers, 2]] * draws))

        def infer_shapes(x, *parameters):
            features, _, pixels, width = made(x, len(parameters) // 10, parameters)
            return features, bottlenecks(pixels, width)

        def gradient_shapes(features, *rest):
            parameters = rest[5 + draws + shared :]
            channels = parameters[0][0]
            x = _map_like(features, channels)
            pixels = features[0] * features[1] * features[2]
            return (x, [2, channels], *parameters, features, bottlenecks(pixels, parameters[2][0]))

        def infer_gradient_shapes(features, _, *rest):
            parameters = rest[: len(rest) // 10 * 6]
            pixels = features[0] * features[1] * features[2]
            one = bottlenecks(pixels, parameters[2][0])
            return (_map_like(features, parameters[0][0]), *parameters, features, one, one)

        def train_types(*_):
            return (ms.float32, ms.float32, stored, ms.float32, *([ms.int32] * draws))

        def infer_types(*_):
            return ms.float32, stored

        def gradient_types(*inputs):
            return (ms.float32,) * (len(inputs) - 3 - draws - shared) + (stored,)

        def infer_gradient_types(*inputs):
            return (ms.float32,) * ((len(inputs) - 2) // 10 * 6 + 2) + (stored, stored)

        def op(name, shapes, types):
            return operator(library, f"block_{name}_{precision}", shapes, types)

        with_dropout = "_drop" if dropout else ""
        self.train_op = op(f"train{with_dropout}", train_shapes, train_types)
        self.infer_op = op("infer", infer_shapes, infer_types)
        self.backward_op = op(f"backward{with_dropout}", gradient_shapes, gradient_types)
        self.infer_backward_op = op("infer_backward", infer_gradient_shapes, infer_gradient_types)

    def construct(self, x, x_stats, parameters, running):
        """See the class."""
        if self.training:
            return self.train_op(x, x_stats, *self.dropout, *parameters, *running)
        return self.infer_op(x, *parameters, *_statistics(parameters, running))[0], x_stats

    def bprop(self, x, x_stats, parameters, running, out, dout):  # noqa: ARG002 - MindSpore's
        """Gradients of construct's inputs; the running statistics have none."""
        if self.training:
            gradients = self.backward_op(*out, *self.dropout, dout[0], dout[1], *parameters)
            return gradients[0], gradients[1], gradients[2:-2], _no_gradient(running)
        gradients = self.infer_backward_op(out[0], dout[0], *parameters, *_statistics(parameters, running))
        return gradients[0], _zeros_like(x_stats), gradients[1:-3], _no_gradient(running)


def _statistics(parameters, running):
    """Without what dropout has beside them."""
    return running[: len(parameters) // 6 * 4]


class Transition(nn.Cell):
    """x, its statistics, parameters (gamma, beta, conv), running (mean, variance) -> y, its statistics; then what
    backward needs.

    pool: avg or max. precision: fp32 or bf16, the numbers that the convolution multiplies.
    """

    def __init__(self, library: str, pool: str, precision: str) -> None:
        super().__init__()

        def y_shape(x, conv):
            return [x[0], x[1] // 2, x[2] // 2, pixel_stride(conv[0])]

        def chosen_shape(x, conv):
            return [*y_shape(x, conv)[:3], _padded(conv[0])] if pool == "max" else [1]

        def train_shapes(x, _, __, ___, conv, *____):
            return y_shape(x, conv), [2, conv[0]], chosen_shape(x, conv)

        def infer_shapes(x, _, __, conv, *___):
            return y_shape(x, conv)

        def gradient_shapes(x, stats, *rest):
            return (x, stats, *rest[5:])

        def infer_gradient_shapes(x, _, __, gamma, beta, conv, *___):
            return x, gamma, beta, conv, chosen_shape(x, conv)

        def train_types(*_):
            return ms.float32, ms.float32, ms.uint8

        def infer_gradient_types(*_):
            return (ms.float32,) * 4 + (ms.uint8,)

        kind = f"{pool}_{precision}"
        self.train_op = operator(library, f"transition_train_{kind}", train_shapes, train_types)
        self.infer_op = operator(library, f"transition_infer_{kind}", infer_shapes, floats(1))
        self.backward_op = operator(library, f"transition_backward_{kind}", gradient_shapes, floats(5))
        self.infer_backward_op = operator(
            library, f"transition_infer_backward_{kind}", infer_gradient_shapes, infer_gradient_types
        )

    def construct(self, x, stats, parameters, running):
        """See the class."""
        if self.training:
            return self.train_op(x, stats, *parameters, *running)
        return self.infer_op(x, *parameters, *running), stats

    def bprop(self, x, stats, parameters, running, out, dout):
        """Gradients of construct's inputs; the running statistics have none."""
        if self.training:
            gradients = self.backward_op(x, stats, *out, dout[0], dout[1], *parameters)
            return gradients[0], gradients[1], gradients[2:], _no_gradient(running)
        gradients = self.infer_backward_op(x, out[0], dout[0], *parameters, *running)
        return gradients[0], _zeros_like(stats), gradients[1:4], _no_gradient(running)


class FinalNorm(nn.Cell):
    """BN-ReLU: x, its statistics, parameters (gamma, beta), running (mean, variance) -> features (N, C, H, W).

    pool: their means over H and W instead, (N, C).
    """

    def __init__(self, library: str, pool: bool) -> None:
        super().__init__()

        def y_shape(x, gamma):
            return [x[0], gamma[0]] if pool else [x[0], gamma[0], x[1], x[2]]

        def train_shapes(x, _, gamma, *__):
            return y_shape(x, gamma)

        def infer_shapes(x, gamma, *_):
            return y_shape(x, gamma)

        def gradient_shapes(x, stats, _, gamma, beta):
            return x, stats, gamma, beta

        def infer_gradient_shapes(x, _, gamma, beta, *__):
            return x, gamma, beta

        name = "final_pool" if pool else "final"
        self.train_op = operator(library, f"{name}_train", train_shapes, floats(1))
        self.infer_op = operator(library, f"{name}_infer", infer_shapes, floats(1))
        self.backward_op = operator(library, f"{name}_backward", gradient_shapes, floats(4))
        self.infer_backward_op = operator(library, f"{name}_infer_backward", infer_gradient_shapes, floats(3))

    def construct(self, x, stats, parameters, running):
        """See the class."""
        if self.training:
            return self.train_op(x, stats, *parameters, *running)
        return self.infer_op(x, *parameters, *running)

    def bprop(self, x, stats, parameters, running, out, dout):  # noqa: ARG002 - MindSpore's
        """Gradients of construct's inputs; the running statistics have none."""
        if self.training:
            gradients = self.backward_op(x, stats, dout, *parameters)
            return gradients[0], gradients[1], gradients[2:], _no_gradient(running)
        gradients = self.infer_backward_op(x, dout, *parameters, *running)
        return gradients[0], _zeros_like(stats), gradients[1:], _no_gradient(running)
