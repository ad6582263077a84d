"""A picture's way into the network, and its logits' to probabilities, as ONNX operators: the pipeline's bits.

Squashing without antialias is OpenCV's fixed-point arithmetic (`src/datasets/resizing.py`). Pillow's antialiased
resizing multiplies with weights of 22 bits after the point, rows first; as matrices that is exact in float64.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from src.datasets.preprocessing import Preprocessing
from src.deploy.manifest import INPUT_NAME, OUTPUT_NAME, PICTURES_NAME, PROBABILITIES_NAME

_OPENCV_ONE, _PILLOW_ONE = 2048, 1 << 22  # what stands for a weight of 1
_OPSET_OF_AXES_AS_INPUT = 13  # of ReduceSum
_SUPPORT = {"bilinear": 1.0, "bicubic": 2.0}  # pixels on each side that a filter reaches, before it is widened


class _Graph:
    """Collects nodes; each call adds one and returns the name of its result."""

    def __init__(self, opset: int, prefix: str = "picture") -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.arrays: list[TensorProto] = []
        self._opset, self._prefix = opset, prefix

    def inside(self, name: str) -> "_Graph":
        """An empty graph that is part of this one, with names of its own."""
        return _Graph(self._opset, f"{self._prefix}/{name}")

    def __call__(self, kind: str, *inputs: "str | np.ndarray", out: str = "", **attributes: object) -> str:
        names = [one if isinstance(one, str) else self._stored(one) for one in inputs]
        name = out or f"{self._prefix}/{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, names, [name], name=f"{name}_node", **attributes))
        return name

    def _stored(self, array: np.ndarray) -> str:
        name = f"{self._prefix}/array_{len(self.arrays)}"
        self.arrays.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def cast(self, value: str, kind: int) -> str:
        return self("Cast", value, to=kind)

    def sum_of_columns(self, matrix: str) -> str:
        """(m, n) -> (m, 1)."""
        if self._opset < _OPSET_OF_AXES_AS_INPUT:
            return self("ReduceSum", matrix, axes=[1], keepdims=1)
        return self("ReduceSum", matrix, np.array([1]), keepdims=1)

    def counted(self, count: str) -> str:
        """0, 1, ... below the float64 number `count`, float64."""
        return self("Range", np.float64(0), count, np.float64(1))

    def side(self, pictures: str, axis: int) -> str:
        """Height (axis 1) or width (2) of (N, H, W, C), float64 ()."""
        return self.cast(self("Gather", self("Shape", pictures), np.int64(axis)), TensorProto.DOUBLE)


def with_preprocessing(model: onnx.ModelProto, preprocessing: Preprocessing, activation: str) -> onnx.ModelProto:
    """`model`, of images to logits, as one of pictures, uint8 (N, H, W, 3), red first, of any height and width, to
    probabilities, float32 (N, num_classes). activation: softmax or sigmoid.
    """
    opset = next(one.version for one in model.opset_import if one.domain == "")
    graph = _Graph(opset)
    _input_of(graph, preprocessing)
    last = helper.make_node(
        "Sigmoid" if activation == "sigmoid" else "Softmax",
        [OUTPUT_NAME],
        [PROBABILITIES_NAME],
        name="probabilities_node",
        **({} if activation == "sigmoid" else {"axis": 1}),
    )
    classes = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    whole = helper.make_graph(
        [*graph.nodes, *model.graph.node, last],
        "densenet_with_preprocessing",
        [helper.make_tensor_value_info(PICTURES_NAME, TensorProto.UINT8, ["batch", "height", "width", 3])],
        [helper.make_tensor_value_info(PROBABILITIES_NAME, TensorProto.FLOAT, ["batch", classes])],
        [*graph.arrays, *model.graph.initializer],
    )
    return helper.make_model(whole, opset_imports=model.opset_import, ir_version=model.ir_version)


def preprocessing_alone(preprocessing: Preprocessing, opset: int = 11) -> onnx.ModelProto:
    """The first part of `with_preprocessing`: pictures to the network's input, float32 (N, 3, S, S)."""
    graph = _Graph(opset)
    _input_of(graph, preprocessing)
    size = preprocessing.image_size
    alone = helper.make_graph(
        graph.nodes,
        "preprocessing",
        [helper.make_tensor_value_info(PICTURES_NAME, TensorProto.UINT8, ["batch", "height", "width", 3])],
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, ["batch", 3, size, size])],
        graph.arrays,
    )
    return helper.make_model(alone, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)


def _input_of(graph: _Graph, preprocessing: Preprocessing) -> None:
    pixels = (_antialiased if preprocessing.antialias else _squashed)(graph, preprocessing)
    mean, std = (values.reshape(1, 3, 1, 1) for values in preprocessing.levels())
    centred = graph("Sub", graph.cast(pixels, TensorProto.FLOAT), mean)
    graph("Div", centred, std, out=INPUT_NAME)


def _squashed(graph: _Graph, preprocessing: Preprocessing) -> str:
    """Pixels (N, 3, S, S) int32, as `resized` makes them."""
    size, pixels = preprocessing.resized_to, graph.cast(PICTURES_NAME, TensorProto.INT32)
    height, width = graph.side(PICTURES_NAME, 1), graph.side(PICTURES_NAME, 2)
    top, bottom, top_weight, bottom_weight = _taps(graph, height, size, clamps_weights=False)
    left, right, left_weight, right_weight = _taps(graph, width, size, clamps_weights=True)

    def mixed(rows: str, weight: str) -> str:
        chosen = graph("Gather", pixels, rows, axis=1)
        sides = ((left, left_weight), (right, right_weight))
        parts = [
            graph("Mul", graph("Gather", chosen, at, axis=2), graph("Reshape", w, np.array([-1, 1]))) for at, w in sides
        ]
        scaled = graph("Div", graph("Add", *parts), np.int32(16))
        return graph("Div", graph("Mul", scaled, graph("Reshape", weight, np.array([-1, 1, 1]))), np.int32(65536))

    both = graph("Add", mixed(top, top_weight), mixed(bottom, bottom_weight))
    resized = graph("Div", graph("Add", both, np.int32(2)), np.int32(4))
    # OpenCV averages 2 x 2 pixels when both sides are halved.
    halved = graph("And", *(graph("Equal", side, np.float64(2 * size)) for side in (height, width)))
    four = None
    for row in (0, 1):
        lines = graph("Gather", pixels, _every_other(graph, height, size, row), axis=1)
        for column in (0, 1):
            one = graph("Gather", lines, _every_other(graph, width, size, column), axis=2)
            four = one if four is None else graph("Add", four, one)
    average = graph("Div", graph("Add", four, np.int32(2)), np.int32(4))
    planes = graph("Transpose", graph("Where", halved, average, resized), perm=[0, 3, 1, 2])
    start = (size - preprocessing.image_size) // 2
    return _cut(graph, planes, np.array([start, start]), preprocessing.image_size)


def _every_other(graph: _Graph, side: str, size: int, first: int) -> str:
    last = graph("Sub", side, np.float64(1))
    return graph.cast(graph("Min", np.arange(first, 2 * size, 2).astype(np.float64), last), TensorProto.INT64)


def _taps(graph: _Graph, source: str, target: int, *, clamps_weights: bool) -> tuple[str, str, str, str]:
    """As `_taps` of `resizing.py`, for a side of `source` pixels, float64 (): int64, int64, int32, int32, (target,)."""
    scale = graph("Div", np.float64(1), graph("Div", np.float64(target), source))
    centres = (np.arange(target) + 0.5).astype(np.float64)
    position = graph.cast(graph("Sub", graph("Mul", centres, scale), np.float64(0.5)), TensorProto.FLOAT)
    first = graph("Floor", position)
    fraction = graph("Sub", position, first)
    last = graph.cast(graph("Sub", source, np.float64(1)), TensorProto.FLOAT)

    def inside(lines: str) -> str:
        return graph("Min", graph("Max", lines, np.float32(0)), last)

    if clamps_weights:
        below, reaches = graph("Less", first, np.float32(0)), graph("Not", graph("Less", first, last))
        outside = graph("Or", below, reaches)
        first = graph("Where", outside, inside(first), first)
        fraction = graph("Where", outside, np.float32(0), fraction)
    following = graph("Add", first, np.float32(1))
    lines = (graph.cast(inside(line), TensorProto.INT64) for line in (first, following))
    weights = (
        graph.cast(graph("Round", graph("Mul", share, np.float32(_OPENCV_ONE))), TensorProto.INT32)
        for share in (graph("Sub", np.float32(1), fraction), fraction)
    )
    return *lines, *weights


def _antialiased(graph: _Graph, preprocessing: Preprocessing) -> str:
    """Pixels (N, 3, S, S) float64, as `geometry.evaluation_pixels` makes them."""
    size, crop = np.float64(preprocessing.resized_to), preprocessing.image_size
    planes = graph("Transpose", graph.cast(PICTURES_NAME, TensorProto.DOUBLE), perm=[0, 3, 1, 2])
    height, width = graph.side(PICTURES_NAME, 1), graph.side(PICTURES_NAME, 2)
    is_tall = graph("Not", graph("Less", height, width))
    if preprocessing.resize_mode == "squash":
        new_height = new_width = graph("Identity", size)
    elif preprocessing.resize_mode == "shorter_side":
        longest, shortest = graph("Max", height, width), graph("Min", height, width)
        longer = graph("Floor", graph("Div", graph("Mul", size, longest), shortest))
        new_height, new_width = graph("Where", is_tall, longer, size), graph("Where", is_tall, size, longer)
    else:
        new_height, new_width = _fitted(graph, height, width, size), _fitted(graph, width, height, size)
    across = _weights(graph, width, new_width, preprocessing.interpolation)
    down = _weights(graph, height, new_height, preprocessing.interpolation)
    # Pillow mixes the rows first where that leaves much less to do.
    fewer = graph("Sub", height, new_height)
    narrower = graph("Mul", graph("Sub", width, new_width), np.float64(2))
    rows_first = graph("And", graph("Less", np.float64(0), fewer), graph("Less", narrower, fewer))
    ways = {
        branch: _mixed(graph.inside(branch), planes, down, across, rows_first=first)
        for branch, first in (("then_branch", True), ("else_branch", False))
    }
    planes = graph("If", rows_first, **ways)
    sides = graph("Concat", *(graph("Reshape", side, np.array([1])) for side in (new_height, new_width)), axis=0)
    if preprocessing.resize_mode == "letterbox":
        planes, sides = _padded(graph, planes, sides, size), np.array([size, size])
    start = graph.cast(_half(graph, graph("Sub", sides, np.float64(crop))), TensorProto.INT64)
    return _cut(graph, planes, start, crop)


def _mixed(graph: _Graph, planes: str, down: str, across: str, *, rows_first: bool) -> onnx.GraphProto:
    """Planes (N, 3, H, W) mixed with the weights `down` (h, H) and `across` (w, W), in levels: (N, 3, h, w)."""
    for is_down in (rows_first, not rows_first):
        if is_down:
            summed = graph("MatMul", down, planes)
        else:
            summed = graph("MatMul", planes, graph("Transpose", across, perm=[1, 0]))
        rounded = graph(
            "Floor", graph("Div", graph("Add", summed, np.float64(_PILLOW_ONE / 2)), np.float64(_PILLOW_ONE))
        )
        planes = graph("Min", graph("Max", rounded, np.float64(0)), np.float64(255))
    result = helper.make_tensor_value_info(planes, TensorProto.DOUBLE, ["batch", 3, None, None])
    return helper.make_graph(graph.nodes, "mixing", [], [result], graph.arrays)


def _fitted(graph: _Graph, side: str, other: str, size: np.float64) -> str:
    """The length of a letterbox's side: `size`, or less where the picture's is the shorter."""
    shorter = graph("Round", graph("Mul", graph("Div", side, other), size))
    shorter = graph("Min", graph("Max", shorter, np.float64(1)), size)
    return graph("Where", graph("Less", side, other), shorter, size)


def _half(graph: _Graph, lengths: str) -> str:
    return graph("Round", graph("Mul", lengths, np.float64(0.5)))  # of halves to the even one, as Python's round


def _padded(graph: _Graph, planes: str, sides: str, size: np.float64) -> str:
    """(N, 3, h, w) in the middle of black pixels (N, 3, size, size)."""
    missing = graph("Sub", size, sides)
    before = _half(graph, missing)
    none = np.zeros(2)
    pads = graph("Concat", none, before, none, graph("Sub", missing, before), axis=0)
    return graph("Pad", planes, graph.cast(pads, TensorProto.INT64), np.float64(0), mode="constant")


def _cut(graph: _Graph, planes: str, start: "str | np.ndarray", size: int) -> str:
    """(N, 3, size, size) of (N, 3, h, w), from the place `start`, int64 (2,), on."""
    return graph("Slice", planes, start, graph("Add", start, np.array([size, size])), np.array([2, 3]))


def _weights(graph: _Graph, source: str, target: str, interpolation: str) -> str:
    """Pillow's weights, float64 whole numbers (target, source): how much of each pixel comes into each new one."""
    column = np.array([-1, 1])
    scale = graph("Div", source, target)
    widened = graph("Max", scale, np.float64(1))
    support = graph("Mul", widened, np.float64(_SUPPORT[interpolation]))
    new = graph("Reshape", graph.counted(target), column)
    centre = graph("Mul", graph("Add", new, np.float64(0.5)), scale)
    pixel = graph.counted(source)
    low, high = (
        graph("Floor", graph("Max", graph("Add", graph(way, centre, support), np.float64(0.5)), np.float64(0)))
        for way in ("Sub", "Add")
    )
    reached = graph("And", graph("Not", graph("Less", pixel, low)), graph("Less", pixel, high))
    distance = graph("Div", graph("Add", graph("Sub", pixel, centre), np.float64(0.5)), widened)
    shares = graph("Where", reached, _filter(graph, graph("Abs", distance), interpolation), np.float64(0))
    shares = graph("Div", shares, graph.sum_of_columns(shares))
    fixed = graph("Mul", shares, np.float64(_PILLOW_ONE))
    up, down = graph("Floor", graph("Add", fixed, np.float64(0.5))), graph("Ceil", graph("Sub", fixed, np.float64(0.5)))
    return graph("Where", graph("Less", shares, np.float64(0)), down, up)


def _filter(graph: _Graph, distance: str, interpolation: str) -> str:
    if interpolation == "bilinear":
        return graph("Max", graph("Sub", np.float64(1), distance), np.float64(0))
    squared = graph("Mul", distance, distance)  # cubic convolution (Keys 1981) with a = -0.5
    near = graph("Sub", graph("Mul", distance, np.float64(1.5)), np.float64(2.5))
    near = graph("Add", graph("Mul", near, squared), np.float64(1))
    far = graph("Add", graph("Mul", graph("Sub", distance, np.float64(5)), distance), np.float64(8))
    far = graph("Mul", graph("Sub", graph("Mul", far, distance), np.float64(4)), np.float64(-0.5))
    far = graph("Where", graph("Less", distance, np.float64(2)), far, np.float64(0))
    return graph("Where", graph("Less", distance, np.float64(1)), near, far)
