"""Files of the CPU engine: safetensors with the manifest inside. No MindSpore here.

The tensors have the network's own names, but of each normalisation there are `scale` and `offset`: in evaluation it is
scale * x + offset. Where a convolution comes right before one, the scale is in its weights and only `offset` is left.
With INT8 convolutions have a scale and an offset of their sums (`engine_int8.py`). `engine/description.cc` has the same
list.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from src.deploy.engine_int8 import Inputs, quantized
from src.deploy.manifest import Manifest
from src.network.architecture import Architecture
from src.utils.errors import ReportedError

METADATA_KEY = "densenet_manifest"
CHECKSUM_KEY = "densenet_sha256"  # of that text and of all tensors
EPSILON = 1e-5  # of the network's normalisations
_ALIGNMENT = 8  # bytes, of the numbers in a safetensors file
_FEATURES = "backbone.features"
CLASSIFIER = "head.fc.weight"


def write_engine_file(
    arrays: Mapping[str, np.ndarray], manifest: Manifest, path: Path, inputs: Mapping[str, Inputs] | None = None
) -> None:
    """Write `arrays`, a network's parameters by their names, as the model that `manifest` describes. Raises OSError.

    inputs: with the precision int8, what was measured of the convolutions' inputs.
    """
    tensors = folded(arrays, manifest.architecture)
    if manifest.precision == "int8":
        tensors = quantized(tensors, inputs, manifest.architecture)
    text = json.dumps(manifest.to_dict())
    header, data = _parts(save(tensors))
    # Not by `save`, which puts several keys in another order each time.
    header = {"__metadata__": {METADATA_KEY: text, CHECKSUM_KEY: _checksum(text, header, data)}, **header}
    written = json.dumps(header, separators=(",", ":")).encode()
    written += b" " * (-len(written) % _ALIGNMENT)
    path.write_bytes(len(written).to_bytes(8, "little") + written + data)


def _parts(content: bytes) -> tuple[dict, memoryview]:
    """The header of a safetensors file and the bytes behind it."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), memoryview(content)[end:]


def _checksum(text: str, header: Mapping[str, Mapping], data: memoryview) -> str:
    """What `ModelFile::check_sum` in engine/model_file.cc compares when it loads the file."""
    digest = hashlib.sha256(text.encode())
    for name, entry in sorted(header.items()):
        digest.update(f"{name} {entry['dtype']} {entry['shape']}".encode())
        digest.update(data[slice(*entry["data_offsets"])])
    return digest.hexdigest()


def folded(arrays: Mapping[str, np.ndarray], arch: Architecture) -> dict[str, np.ndarray]:
    """The engine's tensors, float32, computed in float64 from a network's parameters."""
    made: dict[str, np.ndarray] = {}

    def norm(name: str) -> tuple[np.ndarray, np.ndarray]:
        gamma, beta, mean, variance = (
            arrays[f"{name}.{part}"].astype(np.float64) for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        scale = gamma / np.sqrt(variance + EPSILON)
        return scale, beta - mean * scale

    def keep_norm(name: str) -> None:
        made[f"{name}.scale"], made[f"{name}.offset"] = norm(name)

    def fold(convolution: str, normalisation: str) -> None:
        scale, made[f"{normalisation}.offset"] = norm(normalisation)
        made[f"{convolution}.weight"] = arrays[f"{convolution}.weight"] * scale[:, None, None, None]

    fold(f"{_FEATURES}.conv0", f"{_FEATURES}.norm0")
    for block, layers in enumerate(arch.block_config, 1):
        for i in range(layers):
            layer = f"{_FEATURES}.denseblock{block}.cell_list.{i}"
            keep_norm(f"{layer}.norm1")
            fold(f"{layer}.conv1", f"{layer}.norm2")
            made[f"{layer}.conv2.weight"] = arrays[f"{layer}.conv2.weight"]
        if block < len(arch.block_config):
            transition = f"{_FEATURES}.transition{block}.features"
            keep_norm(f"{transition}.norm")
            made[f"{transition}.conv.weight"] = arrays[f"{transition}.conv.weight"]
    keep_norm(f"{_FEATURES}.norm5")
    for name in (CLASSIFIER, "head.fc.bias"):
        made[name] = arrays[name]
    return {name: np.ascontiguousarray(value, np.float32) for name, value in made.items()}


def read_classifier(path: Path) -> np.ndarray:
    """The classifier's weights (num_classes, features) of a file that the engine has loaded.

    Raises ReportedError when it was replaced since.
    """
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            entry = json.loads(file.read(size))[CLASSIFIER]
            start, end = entry["data_offsets"]
            file.seek(8 + size + start)
            return np.frombuffer(file.read(end - start), "<f4").reshape(entry["shape"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReportedError(f"{path} changed while it was read ({error}); start again") from error
