"""What an ONNX model may be made of before ONNX Runtime gets to see it: what export.py writes, and no more.

ONNX Runtime believes a model: a `ConstantOfShape` of 10^12 values, a loop without an end, an array in another file. So
the list is of what is allowed: operators, their attributes and the range of each, the fields of every message. Sizes
are bounded by the network that the model says it is.
"""

import math
from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from google.protobuf.message import Message
from onnx import AttributeProto, TensorProto, numpy_helper

from src.network.architecture import Architecture
from src.utils.checkpoint_arrays import LARGEST_WEIGHT

OPSETS = range(11, 14)  # 11 is MindSpore's, 13 that of INT8

_FLAG, _AXIS, _SHORT, _LENGTH = range(2), range(4), range(65), range(1, 65)
_PADDING = {"auto_pad": (b"NOTSET", b"VALID", b"SAME_UPPER", b"SAME_LOWER"), "pads": _SHORT}
_WINDOW = {"kernel_shape": _LENGTH, "strides": _LENGTH, "dilations": _LENGTH, **_PADDING}
_POOL = _WINDOW | {"ceil_mode": _FLAG}
_TYPES = (TensorProto.FLOAT, TensorProto.FLOAT16)
_ANY = None  # any number

# Of each operator that export.py writes: its attributes and their values.
OPERATORS: Mapping[str, Mapping[str, object]] = {
    "AveragePool": _POOL | {"count_include_pad": _FLAG},
    "BatchNormalization": {"epsilon": _ANY, "momentum": _ANY, "training_mode": (0,)},
    "Cast": {"to": _TYPES},
    "Concat": {"axis": _AXIS},
    "Constant": {"value": TensorProto},
    "Conv": _WINDOW | {"group": (1,)},
    "DequantizeLinear": {"axis": _AXIS},
    "Gemm": {"alpha": _ANY, "beta": _ANY, "transA": _FLAG, "transB": _FLAG},
    "MaxPool": _POOL | {"storage_order": (0,)},
    "Mul": {},
    "QuantizeLinear": {"axis": _AXIS},
    "ReduceMean": {"axes": _AXIS, "keepdims": _FLAG},
    "Relu": {},
    "Slice": {},
}

# The fields of each message; none of a subgraph, a function, a sparse array or data elsewhere is among them.
_FIELDS: Mapping[type[Message], frozenset[str]] = {
    onnx.ModelProto: frozenset(
        ["ir_version", "producer_name", "producer_version", "doc_string", "graph", "opset_import", "metadata_props"]
    ),
    onnx.GraphProto: frozenset(["node", "name", "initializer", "doc_string", "input", "output", "value_info"]),
    onnx.NodeProto: frozenset(["input", "output", "name", "op_type", "doc_string", "attribute"]),
    TensorProto: frozenset(
        ["dims", "data_type", "name", "doc_string", "raw_data", "float_data", "int32_data", "int64_data"]
    ),
    AttributeProto: frozenset(["name", "type", "f", "i", "s", "t", "ints"]),
}
_ATTRIBUTE_VALUES = {
    AttributeProto.FLOAT: "f",
    AttributeProto.INT: "i",
    AttributeProto.STRING: "s",
    AttributeProto.TENSOR: "t",
    AttributeProto.INTS: "ints",
}
_ITEM_BYTES = {
    TensorProto.FLOAT: 4,
    TensorProto.FLOAT16: 2,
    TensorProto.INT8: 1,
    TensorProto.UINT8: 1,
    TensorProto.INT32: 4,
    TensorProto.INT64: 8,
}
_STORED = ("raw_data", "float_data", "int32_data", "int64_data")
_STORED_AS = {
    TensorProto.FLOAT: ("raw_data", "float_data"),
    TensorProto.INT64: ("raw_data", "int64_data"),
}  # the others as raw_data or int32_data
_SMALL = 64  # values of a Constant, or of an array of which shapes depend


class ForeignModelError(Exception):
    """The model is not as export.py writes it; the text says what was found."""


def layers(arch: Architecture) -> int:
    """Dense layers, transitions and the stem."""
    return sum(arch.block_config) + len(arch.block_config) + 1


def max_values(arch: Architecture) -> int:
    """Above the number of all weights, statistics, scales and zero points of `arch` in any of its exports."""
    return 4 * arch.num_parameters + 1024


def max_features(arch: Architecture, image_size: int) -> int:
    """Above the number of values of all intermediate results for one image."""
    size = math.ceil(image_size / 2) if arch.stem == "conv7x7" else image_size
    channels = arch.stem_features
    total = arch.input_channels * image_size**2 + 8 * channels * (size + 2) ** 2
    size = math.ceil(size / 2) if arch.stem == "conv7x7" else size
    for count in arch.block_config:
        for _ in range(count):
            channels += arch.growth_rate
            total += (3 * channels + 3 * arch.bn_size * arch.growth_rate + arch.growth_rate) * size**2
        total += 4 * channels * size**2
        channels, size = max(1, int(channels * arch.compression)), max(1, size // 2)
    return 4 * (total + arch.num_classes)  # INT8 writes each result, its bytes, and these as floats again


def check_model(model: onnx.ModelProto, arch: Architecture, image_size: int) -> None:
    """Raise ForeignModelError unless `model` is made as export.py makes one of `arch` for images of this size."""
    _only(model, "the model")
    for imported in model.opset_import:  # of other domains nothing is used: the nodes' own are checked
        if imported.domain == "" and imported.version not in OPSETS:
            raise ForeignModelError(f"version {imported.version} of ONNX's operators")
    graph = model.graph
    _only(graph, "the graph")
    for what, found in (("operators", graph.node), ("arrays", graph.initializer), ("shapes", graph.value_info)):
        if len(found) > 64 * layers(arch):
            raise ForeignModelError(f"{len(found):,} {what}, more than a {arch.net} has")
    for tensor in graph.initializer:
        check_tensor(tensor)
    values = sum(math.prod(tensor.dims) for tensor in graph.initializer)
    if values > max_values(arch):
        raise ForeignModelError(f"{values:,} values in its arrays, more than a {arch.net} has")
    for node in graph.node:
        _check_node(node)
    _check_variances(graph)
    features = _inferred_values(model)
    if features > max_features(arch, image_size) + 2 * max_values(arch):  # INT8 makes floats of the weights
        raise ForeignModelError(f"{features:,} values in its results for one image, more than a {arch.net} has")


def check_tensor(tensor: TensorProto) -> None:
    """Raise ForeignModelError unless a stored array has a known type, sane dims, as many values as they say, and only
    numbers: ONNX Runtime's Relu makes 0 of NaN, and the model would answer.
    """
    where = f"the array {tensor.name!r:.100}"
    _only(tensor, where)
    if tensor.data_type not in _ITEM_BYTES or len(tensor.dims) > 4 or not all(0 < dim < 2**31 for dim in tensor.dims):
        raise ForeignModelError(f"{where} of type {tensor.data_type} and dims {list(tensor.dims)!s:.60}")
    stored = [name for name in _STORED if len(getattr(tensor, name))]
    if len(stored) != 1 or stored[0] not in _STORED_AS.get(tensor.data_type, ("raw_data", "int32_data")):
        raise ForeignModelError(f"{where} with its values in {' and '.join(stored) or 'no place'}")
    found, expected = len(getattr(tensor, stored[0])), math.prod(tensor.dims)
    if stored[0] == "raw_data":
        expected *= _ITEM_BYTES[tensor.data_type]
    if found != expected:
        raise ForeignModelError(f"{where} with {found:,} of the {expected:,} {stored[0]} that its dims ask for")
    if tensor.data_type in _TYPES and not (np.abs(numpy_helper.to_array(tensor)) <= LARGEST_WEIGHT).all():
        raise ForeignModelError(f"{where} with values that are not finite, or beyond {LARGEST_WEIGHT:g}")


def _check_variances(graph: onnx.GraphProto) -> None:
    arrays = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "BatchNormalization" and len(node.input) == 5 and node.input[4] in arrays:
            variances = arrays[node.input[4]]
            if variances.data_type in _TYPES and (numpy_helper.to_array(variances) < 0).any():
                raise ForeignModelError(f"negative variances in the array {node.input[4]!r:.100}")


def _check_node(node: onnx.NodeProto) -> None:
    where = f"the operator {node.op_type!r:.60}"
    if node.domain or node.op_type not in OPERATORS:
        raise ForeignModelError(f"{where}{f' of {node.domain!r:.60}' if node.domain else ''}")
    _only(node, where)
    for attribute in node.attribute:
        allowed = OPERATORS[node.op_type]
        field = _ATTRIBUTE_VALUES.get(attribute.type)
        if attribute.name not in allowed or field is None:
            raise ForeignModelError(f"{where} with the attribute {attribute.name!r:.60}")
        _only(attribute, where, frozenset(("name", "type", field)))
        value = getattr(attribute, field)
        accepted = allowed[attribute.name]
        if accepted is TensorProto:
            ok = field == "t"
            if ok:
                check_tensor(value)
                ok = math.prod(value.dims) <= _SMALL
        elif accepted is _ANY:
            ok = field == "f" and math.isfinite(value)
        else:
            values = value if field == "ints" else [value]
            ok = len(values) <= 8 and all(single in accepted for single in values)
        if not ok:
            raise ForeignModelError(f"{where} with {attribute.name} {value!s:.60}")


def _only(message: Message, where: str, fields: Iterable[str] = ()) -> None:
    for field, _ in message.ListFields():
        if field.name not in (fields or _FIELDS[type(message)]):
            raise ForeignModelError(f"{where} with {field.name}")


def _inferred_values(model: onnx.ModelProto) -> int:
    """How many values the operators make of one image, by ONNX's own checker and strict shape inference.

    Both see the arrays' shapes alone, except for the few values of which shapes depend.
    """
    outline = onnx.ModelProto(ir_version=max(model.ir_version, 4))
    outline.opset_import.extend(imported for imported in model.opset_import if not imported.domain)
    graph = outline.graph
    graph.name = "outline"
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.INT64 and math.prod(tensor.dims) <= _SMALL:
            graph.initializer.append(tensor)
        else:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    try:
        onnx.checker.check_model(outline)
        inferred = onnx.shape_inference.infer_shapes(outline, check_type=True, strict_mode=True).graph
    except Exception as error:  # onnx raises several of its own, and RuntimeError
        raise ForeignModelError(f"a graph that contradicts itself ({error})") from error
    shapes = {value.name: value.type.tensor_type.shape for value in (*inferred.value_info, *inferred.output)}
    made = [name for node in inferred.node for name in node.output if name]
    return sum(_values_for_one_image(name, shapes.get(name)) for name in made)


def _values_for_one_image(name: str, shape: onnx.TensorShapeProto | None) -> int:
    dims = [(dim.HasField("dim_value"), dim.dim_value) for dim in shape.dim] if shape is not None else []
    if shape is None or any(not known for known, _ in dims[1:]) or any(known and size < 1 for known, size in dims):
        raise ForeignModelError(f"a result {name!r:.100} of unknown size")
    return math.prod(size if known else 1 for known, size in dims)
