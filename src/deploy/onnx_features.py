"""The last features of an exported ONNX model, which it does not give by itself, and the classifier behind them."""

import numpy as np
import onnx
from onnx import numpy_helper

from src.deploy.manifest import OUTPUT_NAME


def with_features(model: bytes) -> tuple[bytes, str, np.ndarray]:
    """Return the `model` of `read_onnx` with one more output, that output's name, and the classifier's weights.

    The output is the last features (B, K, h, w), in the model's own precision; the weights are float32 (classes, K).
    """
    found = onnx.load_from_string(model)
    made_by = {output: node for node in found.graph.node for output in node.output}
    classifier = _above(OUTPUT_NAME, "Gemm", made_by)
    features = _above(classifier.input[0], "ReduceMean", made_by).input[0]
    found.graph.output.append(onnx.ValueInfoProto(name=features))
    arrays = {array.name: array for array in found.graph.initializer}
    return found.SerializeToString(), features, _weights(classifier.input[1], made_by, arrays)


def _above(output: str, op_type: str, made_by: dict[str, onnx.NodeProto]) -> onnx.NodeProto:
    """The next operator of that type, up from `output` by each one's first input, past casts and scales."""
    node = made_by[output]
    while node.op_type != op_type:
        node = made_by[node.input[0]]
    return node


def _weights(name: str, made_by: dict[str, onnx.NodeProto], arrays: dict[str, onnx.TensorProto]) -> np.ndarray:
    if name in arrays:
        return numpy_helper.to_array(arrays[name]).astype(np.float32)
    numbers, scale, zero = (numpy_helper.to_array(arrays[one]) for one in made_by[name].input)  # of INT8, a row a class
    return (numbers.astype(np.float32) - zero.astype(np.float32).reshape(-1, 1)) * scale.reshape(-1, 1)
