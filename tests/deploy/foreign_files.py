"""Weights as PyTorch's users have them, written without PyTorch."""

import json
from pathlib import Path

import numpy as np

from src.deploy.torch_names import torch_name
from src.network.densenet import DenseNet, architecture


def random_weights(net: str = "densenet121", **overrides) -> dict[str, np.ndarray]:
    """All arrays of the network with 5 classes, random, by our names."""
    random = np.random.default_rng(0)
    network = DenseNet(architecture(net, 5, **overrides))
    return {name: random.random(p.shape, np.float32) for name, p in network.parameters_dict().items()}


def state_dict(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same by PyTorch's names, with its counters of batches."""
    state = {torch_name(name): value for name, value in weights.items()}
    norms = [name.removesuffix("running_mean") for name in state if name.endswith("running_mean")]
    return state | {norm + "num_batches_tracked": np.int64(1234) for norm in norms}


def write_safetensors(path: Path, arrays: dict[str, np.ndarray], types: dict[str, str] | None = None) -> Path:
    """A file with `arrays`, written from the format's description; `types` names those that numpy does not have."""
    kinds = {"float32": "F32", "float16": "F16", "float64": "F64", "int64": "I64", "int8": "I8"}
    header, data = {}, b""
    for name, value in arrays.items():
        start, data = len(data), data + value.tobytes()
        kind = (types or {}).get(name) or kinds[value.dtype.name]
        header[name] = {"dtype": kind, "shape": list(value.shape), "data_offsets": [start, len(data)]}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path
