"""The parts of a DenseNet as single operators on a CPU: cells around the functions of cpp/operators.cc.

A feature map between them is channels last, (N, H, W, stride) float32, with `pixel_stride(C)` floats from one pixel's C
channels to the next, and goes with its statistics (2, C): mean and biased variance over N, H and W. It starts at a
cache line of its tensor, which its last value tells (kMark in cpp/map/feature_map.h). The statistics are an output like
any other: what the normalisations that read a feature owe to its mean and variance is *their* gradient.

Each cell takes the parameters of the plain network's cells. In training (`self.training`) it updates the running
statistics in place; else it uses them, and has no gradients.
"""

import ctypes

import mindspore as ms
from mindspore import nn, ops

_LINE = 16  # floats in a cache line
SPARE_PIXELS = 4  # so that the bottlenecks may start later in their tensor, see kMark in cpp/map/feature_map.h
_LAYER = "( gamma1 beta1 conv1 gamma2 beta2 conv2 )"
_LAYER_RUNNING = "( mean1 variance1 mean2 variance2 )"
# What an operator takes and makes, as cpp/signatures.h has it too: the library checks number and types at each call.
SIGNATURES = {
    "stem_train": "images conv gamma beta mean variance -> y y_stats convolved conv_stats extremes indices:uint8",
    "stem_infer": "images conv gamma beta mean variance -> y",
    "stem_backward": "images conv gamma beta y_stats convolved conv_stats extremes indices:uint8 d_y d_y_stats "
    "-> d_conv d_gamma d_beta scratch",
    "block_train": f"x x_stats {_LAYER} {_LAYER_RUNNING} -> features stats bottlenecks:number bottleneck_stats",
    "block_infer": f"x {_LAYER} {_LAYER_RUNNING} -> features scratch:number",
    "block_backward": f"features stats bottlenecks:number bottleneck_stats d_features d_stats {_LAYER} "
    "-> d_x d_x_stats ( d_gamma1 d_beta1 d_conv1 d_gamma2 d_beta2 d_conv2 ) scratch scratch_bottlenecks:number",
    "transition_train": "x x_stats gamma beta conv mean variance -> y y_stats",
    "transition_infer": "x gamma beta conv mean variance -> y",
    "transition_backward": "x x_stats y y_stats d_y d_y_stats gamma beta conv -> d_x d_x_stats d_gamma d_beta d_conv",
    "final_train": "x x_stats gamma beta mean variance -> y",
    "final_infer": "x gamma beta mean variance -> y",
    "final_backward": "x x_stats d_y gamma beta -> d_x d_x_stats d_gamma d_beta",
    "map_measure": "x gamma -> x_stats",
    "sgd_update": "settings learning_rate ( gradient ) ( parameter ) ( velocity ) -> done",
    "average_update": "share ( average ) ( value ) -> done",
}
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
    words = function.replace("final_pool", "final").split("_")[:2]  # without a stem's padding and the precision
    signature_of = ctypes.CDLL(library).operator_signature
    signature_of.restype = ctypes.c_char_p
    found = signature_of(function.encode())
    if found != SIGNATURES["_".join(words)].encode():
        raise RuntimeError(f"{library} has another operator {function} than src/ops/dense_ops.py: {found!r}")


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


def _check_training(training):
    if not training:
        raise NotImplementedError(
            "the C++ kernels have no gradients in evaluation mode; build DenseNet without kernels"
        )


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
    backward pass needs. The gradient of the images is not computed: it is NaN. stem_pool: see `Architecture`.
    precision: fp32 or bf16, the numbers that the convolution multiplies.
    """

    def __init__(self, library: str, stem_pool: str, precision: str) -> None:
        super().__init__()

        def shapes(images, conv):
            step = 2 if conv[2] == 7 else 1
            size = [(length - 1) // step + 1 for length in images[2:]]
            pooled = [(length + 1) // 2 for length in size] if conv[2] == 7 else size
            return [images[0], *pooled, pixel_stride(conv[0])], [images[0], *size, pixel_stride(conv[0])]

        def train_shapes(images, conv, *_):
            y, convolved = shapes(images, conv)
            pooled = (y, [*y[:3], _padded(conv[0])]) if conv[2] == 7 else ([1], [1])
            return (y, [2, conv[0]], convolved, [2, conv[0]], *pooled)

        def infer_shapes(images, conv, *_):
            return shapes(images, conv)[0]

        def gradient_shapes(*inputs):
            return (*inputs[1:4], inputs[9])

        def train_types(*_):
            return (ms.float32,) * 5 + (ms.uint8,)

        self.train_op = operator(library, f"stem_train_{stem_pool}_{precision}", train_shapes, train_types)
        self.infer_op = operator(library, f"stem_infer_{stem_pool}_{precision}", infer_shapes, floats(1))
        self.backward_op = operator(library, f"stem_backward_{stem_pool}_{precision}", gradient_shapes, floats(4))

    def construct(self, images, parameters, running):
        """See the class."""
        if self.training:
            return self.train_op(images, *parameters, *running)
        return self.infer_op(images, *parameters, *running), running[
            0
        ]  # in place of statistics, which nobody reads then

    def bprop(self, images, parameters, running, out, dout):
        """Gradients of construct's inputs; only the parameters have one."""
        _check_training(self.training)
        gradients = self.backward_op(images, *parameters, *out[1:], dout[0], dout[1])
        return images * float("nan"), gradients[:3], _no_gradient(running)


class DenseBlock(nn.Cell):
    """x, x_stats, parameters (6 a layer), running (4 a layer) -> features, their statistics; then what backward needs.

    parameters: gamma1, beta1, conv1, gamma2, beta2, conv2; running: mean1, variance1, mean2, variance2. precision: fp32
    or bf16, the numbers that the convolutions multiply; sums, features and gradients are float32.
    """

    def __init__(self, library: str, precision: str) -> None:
        super().__init__()
        stored = ms.bfloat16 if precision == "bf16" else ms.float32

        def shapes(x, *parameters):
            layers = len(parameters) // 10
            width, growth = parameters[2][0], parameters[5][0]
            channels = parameters[0][0] + layers * growth
            pixels = x[0] * x[1] * x[2]
            return layers, pixels, width, channels

        def bottlenecks(pixels, width):
            return [pixels + SPARE_PIXELS, _padded(width)]

        def train_shapes(x, _, *parameters):
            layers, pixels, width, channels = shapes(x, *parameters)
            return _map_like(x, channels), [2, channels], bottlenecks(layers * pixels, width), [layers, 2, width]

        def infer_shapes(x, *parameters):
            _, pixels, width, channels = shapes(x, *parameters)
            return _map_like(x, channels), bottlenecks(pixels, width)

        def gradient_shapes(features, *rest):
            parameters = rest[5:]
            channels = parameters[0][0]
            x = _map_like(features, channels)
            pixels = features[0] * features[1] * features[2]
            return (x, [2, channels], *parameters, features, bottlenecks(pixels, parameters[2][0]))

        def train_types(*_):
            return ms.float32, ms.float32, stored, ms.float32

        def infer_types(*_):
            return ms.float32, stored

        def gradient_types(*inputs):
            return (ms.float32,) * (len(inputs) - 3) + (stored,)

        self.train_op = operator(library, f"block_train_{precision}", train_shapes, train_types)
        self.infer_op = operator(library, f"block_infer_{precision}", infer_shapes, infer_types)
        self.backward_op = operator(library, f"block_backward_{precision}", gradient_shapes, gradient_types)

    def construct(self, x, x_stats, parameters, running):
        """See the class."""
        if self.training:
            return self.train_op(x, x_stats, *parameters, *running)
        return self.infer_op(x, *parameters, *running)

    def bprop(self, x, x_stats, parameters, running, out, dout):  # noqa: ARG002 - MindSpore's
        """Gradients of construct's inputs; the running statistics have none."""
        _check_training(self.training)
        gradients = self.backward_op(*out, dout[0], dout[1], *parameters)
        return gradients[0], gradients[1], gradients[2:-2], _no_gradient(running)


class Transition(nn.Cell):
    """x, its statistics, parameters (gamma, beta, conv), running (mean, variance) -> y, its statistics.

    precision: fp32 or bf16, the numbers that the convolution multiplies.
    """

    def __init__(self, library: str, precision: str) -> None:
        super().__init__()

        def y_shape(x, conv):
            return [x[0], x[1] // 2, x[2] // 2, pixel_stride(conv[0])]

        def train_shapes(x, _, __, ___, conv, *____):
            return y_shape(x, conv), [2, conv[0]]

        def infer_shapes(x, _, __, conv, *___):
            return y_shape(x, conv)

        def gradient_shapes(x, stats, *rest):
            return (x, stats, *rest[4:])

        self.train_op = operator(library, f"transition_train_{precision}", train_shapes, floats(2))
        self.infer_op = operator(library, f"transition_infer_{precision}", infer_shapes, floats(1))
        self.backward_op = operator(library, f"transition_backward_{precision}", gradient_shapes, floats(5))

    def construct(self, x, stats, parameters, running):
        """See the class."""
        if self.training:
            return self.train_op(x, stats, *parameters, *running)
        return self.infer_op(x, *parameters, *running), stats

    def bprop(self, x, stats, parameters, running, out, dout):
        """Gradients of construct's inputs; the running statistics have none."""
        _check_training(self.training)
        gradients = self.backward_op(x, stats, *out, dout[0], dout[1], *parameters)
        return gradients[0], gradients[1], gradients[2:], _no_gradient(running)


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

        name = "final_pool" if pool else "final"
        self.train_op = operator(library, f"{name}_train", train_shapes, floats(1))
        self.infer_op = operator(library, f"{name}_infer", infer_shapes, floats(1))
        self.backward_op = operator(library, f"{name}_backward", gradient_shapes, floats(4))

    def construct(self, x, stats, parameters, running):
        """See the class."""
        if self.training:
            return self.train_op(x, stats, *parameters, *running)
        return self.infer_op(x, *parameters, *running)

    def bprop(self, x, stats, parameters, running, out, dout):  # noqa: ARG002 - MindSpore's
        """Gradients of construct's inputs; the running statistics have none."""
        _check_training(self.training)
        gradients = self.backward_op(x, stats, dout, *parameters)
        return gradients[0], gradients[1], gradients[2:], _no_gradient(running)
