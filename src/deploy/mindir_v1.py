"""MindSpore 2.10's MindIR (version 3) rewritten as version 1, the newest that MindSpore Lite 2.0.0 reads.

Version 3 passes an operator's settings as constant inputs behind its tensors ("primitive function"), enumerations as
numbers; version 1 wants them as attributes of the primitive, enumerations as text. Lite 2.0.0 runs some operators
wrongly without a word (ConstantPad2d), so only those that `tests/deploy/test_mindir_v1.py` runs in it are let through.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError
from mindspore.train.mind_ir_pb2 import AttributeProto, ModelProto, NodeProto, PrimitiveProto, TensorProto

from src.utils.errors import ReportedError
from src.utils.files import is_file, no_file, write_atomically
from src.utils.outside import read_outside

_NEW_VERSION, _OLD_VERSION, _OLD_IR_VERSION = 3, 1, "0.1.1"
_REFERENCE = "REF::"  # a node's op_type is this and the name of one of the model's primitives

# Operators that are the same in both versions.
_UNCHANGED = {"Conv2D", "Depend", "Load", "MakeTuple", "MaxPool", "TupleGetItem", "UpdateState"}

# The others: how many inputs are tensors, and which attributes the constants behind them become.
_FUNCTIONS: Mapping[str, tuple[int, Sequence[str]]] = {
    "AvgPool": (1, ("kernel_size", "strides", "pad_mode", "format")),
    "BatchNorm": (5, ("is_training", "epsilon", "momentum", "format")),
    "BiasAdd": (2, ("format",)),
    "Cast": (2, ()),
    "Concat": (1, ("axis",)),
    "MatMul": (2, ("transpose_a", "transpose_b")),
    "Muls": (2, ()),
    "ReLU": (1, ()),
    "ReduceMean": (2, ("keep_dims",)),
    "StridedSlice": (4, ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")),
}

_ENUMERATIONS = {"format": {0: b"NCHW"}, "pad_mode": {1: b"SAME", 2: b"VALID"}}


def downgrade(source: Path, target: Path) -> None:
    """Rewrite the MindIR file `source`, version 3, as `target`, version 1, in one step; `target` is replaced.

    Raises ReportedError when `source` is no MindIR of version 3, is damaged, or holds an operator that Lite 2.0.0 is
    not known to run right, and when `target` cannot be written.
    """
    model = _read(source)
    try:
        _rewrite(model)
    except _UnknownOperatorError as error:
        raise ReportedError(
            f"{source} holds {error}, which MindSpore Lite 2.0.0 is not known to run right; "
            "export it as version 3 for a newer Lite"
        ) from error
    except (KeyError, IndexError, ValueError) as error:  # a reference to nothing, a constant of another kind
        raise ReportedError(f"{source} is damaged: its graph contradicts itself ({error}); export it again") from error
    write_atomically(target, lambda path: path.write_bytes(model.SerializeToString()))


MAX_BYTES = 2**31  # of a protobuf message


class _UnknownOperatorError(Exception):
    """Names an operator that is not let through."""


def _read(source: Path) -> ModelProto:
    if not is_file(source):
        raise ReportedError(f"model {source} {no_file(source)}; give a .mindir file that export.py wrote")
    try:
        model = ModelProto.FromString(read_outside(source, MAX_BYTES))
    except OSError as error:
        raise ReportedError(f"{source} cannot be read: {error.strerror}; check its permissions") from error
    except (DecodeError, ValueError) as error:
        raise ReportedError(f"{source} is no MindIR file, or is damaged; export it again") from error
    if model.producer_name != "MindSpore" or not model.graph.node:
        raise ReportedError(f"{source} is no MindIR file, or is damaged; export it again")
    if model.mind_ir_version != _NEW_VERSION:
        raise ReportedError(
            f"{source} is a MindIR file of version {model.mind_ir_version}, expected version {_NEW_VERSION} as "
            "MindSpore 2.10 writes; export it again"
        )
    if model.functions:
        raise ReportedError(f"{source} holds control flow, which only version {_NEW_VERSION} can express")
    return model


def _rewrite(model: ModelProto) -> None:
    graph = model.graph
    constants = {node.output[0]: node.attribute[0] for node in graph.node if node.op_type == "Constant"}
    primitives = {_REFERENCE + primitive.name: primitive for primitive in model.primitives}
    nodes, own_primitives = [], []
    for node in graph.node:
        if node.op_type == "Constant":
            nodes.append(_copy(node))
            continue
        # One of its own for each node: several may share one and pass it different constants.
        primitive = _copy(primitives[node.op_type])
        primitive.name = f"{primitive.op_type}:{len(own_primitives)}"
        nodes += _rewrite_node(node, primitive, constants)
        own_primitives.append(primitive)
    used = {name for node in nodes for name in node.input}
    del graph.node[:], model.primitives[:]
    graph.node.extend(node for node in nodes if node.op_type != "Constant" or node.output[0] in used)
    model.primitives.extend(own_primitives)
    model.mind_ir_version, model.ir_version = _OLD_VERSION, _OLD_IR_VERSION


def _rewrite_node(
    node: NodeProto, primitive: PrimitiveProto, constants: Mapping[str, AttributeProto]
) -> list[NodeProto]:
    """Return the node of version 1, behind the constant it needs, if any; `primitive` becomes that of the node."""
    operator = primitive.op_type
    known = _UNCHANGED if primitive.prim_type == PrimitiveProto.PRIMITIVE else _FUNCTIONS
    if operator not in known:
        raise _UnknownOperatorError(f"the operator {operator!r:.60}")
    node = _copy(node)
    node.op_type = _REFERENCE + primitive.name
    if known is _UNCHANGED:
        return [node]
    primitive.prim_type = PrimitiveProto.PRIMITIVE
    count, names = _FUNCTIONS[operator]
    for name, source in zip(names, node.input[count:], strict=True):
        primitive.attribute.append(_attribute(operator, name, constants[source]))
    del node.input[count:]
    if operator != "Muls":
        return [node]
    primitive.op_type = "Mul"  # the number becomes a tensor, of the type of the product
    (shape,) = (attribute for attribute in node.attribute if attribute.name == "shape")
    factor = _tensor_constant(f"{node.output[0]}:factor", constants[node.input[1]].f, shape.tensors[0].data_type)
    node.input[1] = factor.output[0]
    return [factor, node]


def _attribute(operator: str, name: str, constant: AttributeProto) -> AttributeProto:
    if name == "is_training" and constant.i:
        raise _UnknownOperatorError(f"a {operator} in training mode")
    if name in _ENUMERATIONS:
        if constant.i not in _ENUMERATIONS[name]:
            raise _UnknownOperatorError(f"a {operator} whose {name} has the number {constant.i}")
        return AttributeProto(name=name, type=AttributeProto.STRING, s=_ENUMERATIONS[name][constant.i])
    attribute = _copy(constant)
    attribute.name = name
    if name in ("kernel_size", "strides"):  # of N, C, H and W
        one = AttributeProto(type=AttributeProto.INT64, ints=[1])
        height, width = constant.values
        del attribute.values[:]
        attribute.values.extend([one, one, height, width])
    return attribute


def _tensor_constant(name: str, value: float, data_type: int) -> NodeProto:
    numpy_type = {TensorProto.FLOAT: np.float32, TensorProto.FLOAT16: np.float16}[data_type]
    tensor = TensorProto(name=name, dims=[1], data_type=data_type, raw_data=numpy_type(value).tobytes())
    attribute = AttributeProto(name="value", type=AttributeProto.TENSORS, tensors=[tensor])
    return NodeProto(name=name, op_type="Constant", output=[name], attribute=[attribute])


def _copy(message):
    copied = type(message)()
    copied.CopyFrom(message)
    return copied
