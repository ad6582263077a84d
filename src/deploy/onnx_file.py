"""ONNX files: written with a checksum and their description inside; read as if anybody could have written them."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from src.deploy.manifest import INPUT_NAME, MAX_BYTES, OUTPUT_NAME, Manifest
from src.deploy.onnx_rules import ForeignModelError, check_model, layers, max_values
from src.utils.errors import ReportedError
from src.utils.file_kind import what_it_is
from src.utils.files import is_file, no_file
from src.utils.shown import printable

METADATA_KEY = "densenet_manifest"  # the manifest's JSON, among the model's own metadata
CHECKSUM_KEY = "densenet_sha256"  # of that text and of all of the file that is not metadata
_MAX_FILE = 2**31 - 1  # protobuf's own limit
# Protobuf's field numbers, of onnx.proto.
_MODEL_GRAPH, _MODEL_METADATA = 7, 14
_GRAPH_INITIALIZER = 5
_TENSOR_DATA = {4: "float_data", 5: "int32_data", 7: "int64_data", 9: "raw_data"}
_MODEL_FIELDS, _GRAPH_FIELDS, _TENSOR_FIELDS = 256, 2**18, 256  # more than any has
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # protobuf's wire types


def save_onnx(model: onnx.ModelProto, manifest: Manifest, path: Path) -> None:
    """Write `model` with its description and checksum, checked by all that will read it.

    Raises onnx's own errors, or ForeignModelError, for a model that ONNX does not define or `read_onnx` would refuse.
    """
    seal(model, json.dumps(manifest.to_dict()))
    onnx.checker.check_model(model, full_check=True)
    check_model(model, manifest.architecture, manifest.preprocessing.image_size)
    path.write_bytes(model.SerializeToString())


def seal(model: onnx.ModelProto, text: str) -> None:
    """Give `model` its description, the JSON `text`, and its checksum; it has no other metadata then."""
    onnx.helper.set_model_props(model, {METADATA_KEY: text})
    checksum = _checksum(memoryview(model.SerializeToString()), text)
    onnx.helper.set_model_props(model, {METADATA_KEY: text, CHECKSUM_KEY: checksum})


def read_onnx(path: Path) -> tuple[bytes, Manifest]:
    """The bytes of a model that ONNX Runtime can be given, and its description.

    Raises ReportedError for what export.py does not write, see `check_model`, and for what changed since it did.
    """
    if not is_file(path):
        raise ReportedError(f"model {path} {no_file(path)}; give an .onnx file that export.py wrote")
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read(min(size, _MAX_FILE) + 1)  # Python takes that much memory at once
    except OSError as error:
        raise ReportedError(f"{path} cannot be read: {error.strerror}; check its permissions") from error
    try:
        return _checked(data, path)
    except ForeignModelError as error:
        raise ReportedError(
            f"{path} cannot be loaded by ONNX Runtime: it is no ONNX model, or not as export.py writes it: it holds "
            f"{printable(str(error))[:300]}; export it again"
        ) from error
    except (ValueError, DecodeError) as error:
        known = what_it_is(path)
        found = f" but {known}" if data and known and "ONNX" not in known else ", or is damaged; export it again"
        raise ReportedError(f"{path} cannot be loaded by ONNX Runtime: it is no ONNX model{found}") from error


def _checked(data: bytes, path: Path) -> tuple[bytes, Manifest]:
    if len(data) > _MAX_FILE:
        raise ValueError("longer than protobuf allows")
    view = memoryview(data)
    properties = _properties(view)
    if METADATA_KEY not in properties:
        if len(_graphs(view)) != 1:
            raise ValueError("no ONNX model")
        raise ReportedError(
            f"{path} carries no {METADATA_KEY}, so its classes and preprocessing are unknown; "
            "export it with this project's export.py"
        )
    text = properties[METADATA_KEY]
    manifest = Manifest.from_text(text, f"{METADATA_KEY} in {path}")
    arch, size = manifest.architecture, manifest.preprocessing.image_size
    _check_lengths(view, manifest)
    model = onnx.load_model_from_string(data)
    _check_interface(model, manifest, path)
    check_model(model, arch, size)
    if properties.get(CHECKSUM_KEY, "") not in ("", _checksum(view, text)):  # older files have none
        raise ReportedError(
            f"{path} is damaged or was changed since export.py wrote it: its {CHECKSUM_KEY} is another; export it again"
        )
    return data, manifest


def _check_interface(model: onnx.ModelProto, manifest: Manifest, path: Path) -> None:
    size = manifest.preprocessing.image_size
    found = []
    for value in (*model.graph.input, *model.graph.output):
        tensor = value.type.tensor_type
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
        found.append((value.name, f"tensor({kind})", [dim.dim_param or dim.dim_value for dim in tensor.shape.dim[1:]]))
    expected = [
        (INPUT_NAME, "tensor(float)", [manifest.architecture.input_channels, size, size]),
        (OUTPUT_NAME, "tensor(float)", [manifest.architecture.num_classes]),
    ]
    if found != expected:
        raise ReportedError(
            f"{path} takes and gives {printable(str(found))[:200]}, but its own description says {expected}; "
            "export it again"
        )


def _properties(view: memoryview) -> dict[str, str]:
    """The metadata, read without the rest. Raises ValueError."""
    found = {}
    for number, value, _ in _fields(view, _MODEL_FIELDS):
        if number == _MODEL_METADATA:
            entry = onnx.StringStringEntryProto.FromString(bytes(value[: 2 * MAX_BYTES]))
            if entry.key in found:
                raise ValueError("one key twice")
            found[entry.key] = entry.value
    return found


def _check_lengths(view: memoryview, manifest: Manifest) -> None:
    """Raise ForeignModelError when parsing the file would take more memory than a model of the manifest is worth.

    In memory a message takes a hundred times the two bytes that an empty one has in a file; an array's values do not.
    """
    graphs = _graphs(view)
    if len(graphs) != 1:
        raise ForeignModelError(f"{len(graphs)} graphs")
    stored = sum(
        sum(len(data) for field, data, _ in _fields(value, _TENSOR_FIELDS) if field in _TENSOR_DATA)
        for number, value, _ in _fields(graphs[0], _GRAPH_FIELDS)
        if number == _GRAPH_INITIALIZER
    )
    arch = manifest.architecture
    beside = len(view) - stored
    names = len(json.dumps(manifest.to_dict()))
    if stored > 8 * max_values(arch) or beside > min(2**24, 2**17 + 2**14 * layers(arch)) + 2 * names:
        raise ForeignModelError(f"{stored:,} bytes of values and {beside:,} others, more than a {arch.net} has")


def _graphs(view: memoryview) -> list[memoryview]:
    return [value for number, value, _ in _fields(view, _MODEL_FIELDS) if number == _MODEL_GRAPH]


def _checksum(view: memoryview, text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for number, _, whole in _fields(view, _MODEL_FIELDS):
        if number != _MODEL_METADATA:
            digest.update(whole)
    return digest.hexdigest()


def _fields(view: memoryview, most: int) -> Iterator[tuple[int, memoryview, memoryview]]:
    """The fields of a protobuf message: number, content, and all the bytes of it.

    Raises ValueError for what is no message, and when there are more than `most`.
    """
    at = count = 0
    while at < len(view):
        start, count = at, count + 1
        if count > most:
            raise ValueError(f"more than {most} fields")
        tag, at = _varint(view, at)
        wire = tag & 7
        if wire == _VARINT:
            begin, (_, at) = at, _varint(view, at)
        elif wire == _BYTES:
            length, begin = _varint(view, at)
            at = begin + length
        elif wire in (_FIXED64, _FIXED32):
            begin, at = at, at + (8 if wire == _FIXED64 else 4)
        else:
            raise ValueError(f"wire type {wire}")
        if at > len(view):
            raise ValueError("a field beyond the end")
        yield tag >> 3, view[begin:at], view[start:at]


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at == len(view):
            raise ValueError("a number beyond the end")
        byte = view[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number of more than 64 bits")
