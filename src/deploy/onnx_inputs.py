"""What the convolutions of an exported ONNX model read, measured on images."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from src.deploy.engine_int8 import Inputs
from src.deploy.manifest import INPUT_NAME
from src.utils.errors import ReportedError

_MEASURES = ("largest", "mean", "mean_square")
_OVER = [0, 2, 3]  # all axes but the channels


def measured_inputs(model: Path, batches: Iterable[tuple[np.ndarray, ...]], threads: int) -> dict[str, Inputs]:
    """Of each convolution, by the name of its weights. batches: (images, ...) in the model's form.

    Only the few numbers of each channel leave ONNX Runtime. Raises ReportedError without an image.
    """
    graph_model, names = _with_measures(onnx.load(model))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(graph_model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    wanted = [f"{name}/{measure}" for name in names for measure in _MEASURES]
    found: dict[str, np.ndarray] = {}
    seen = 0
    for images, *_ in batches:
        values = dict(zip(wanted, session.run(wanted, {INPUT_NAME: images}), strict=True))
        for name, value in values.items():
            value = value.astype(np.float64)
            if name.endswith("/largest"):
                found[name] = np.maximum(found.get(name, 0.0), value)
            else:
                found[name] = found.get(name, 0.0) + value * len(images)
        seen += len(images)
    if not seen:
        raise ReportedError("there is no image to measure the network's values on; give --train_data_dir with some")
    return {
        name: Inputs(*(found[f"{name}/{measure}"] / (1 if measure == "largest" else seen) for measure in _MEASURES))
        for name in names
    }


def _with_measures(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    """The model with the measures of each convolution's input as outputs, and the convolutions' weights' names."""
    graph, names = model.graph, []
    for conv in [node for node in graph.node if node.op_type == "Conv"]:
        x, name = conv.input[:2]
        names.append(name)
        graph.node.append(helper.make_node("Mul", [x, x], [f"{name}/square"]))
        for measure, operator, of in (
            ("largest", "ReduceMax", x), ("mean", "ReduceMean", x), ("mean_square", "ReduceMean", f"{name}/square")
        ):  # fmt: skip
            made = f"{name}/{measure}"
            graph.node.append(helper.make_node(operator, [of], [made], axes=_OVER, keepdims=0))
            graph.output.append(onnx.ValueInfoProto(name=made))
    return model, names
