"""PyTorch's weights in files: .safetensors, which needs no PyTorch, and .pth, which does. No pickled code is run."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors
from safetensors.numpy import save_file

from src.utils.errors import ReportedError
from src.utils.files import is_file, write_atomically

PICKLED = (".pth", ".pt")
SAFE = ".safetensors"
FLOATS = "float32, float16 or bfloat16"
MAX_BYTES = 2**32  # of a file: it is read as a whole, and no DenseNet in use needs a tenth of it

_NUMPY = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8"}


def read_torch_weights(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a state_dict by their names: numbers of 16 bits as float32, counters as int64.

    Raises ReportedError when `path` is missing, damaged, no state_dict, or holds other types of numbers, and for a
    .pth file when PyTorch is not installed.
    """
    if not is_file(path):
        raise ReportedError(f"there is no file {path}; give a state_dict as .pth or .safetensors")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ReportedError(f"{path} has {size:,} bytes, expected at most {MAX_BYTES:,}; use another copy")
    return _read_safe(path) if path.suffix == SAFE else _read_pickled(path)


def write_torch_weights(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write `arrays` as a state_dict in one step. Raises ReportedError as `write_atomically` and without PyTorch."""
    if path.suffix == SAFE:
        write_atomically(path, lambda temporary: save_file(dict(arrays), temporary, {"format": "pt"}))
        return
    torch = _import_torch(path)
    tensors = {name: torch.from_numpy(value) for name, value in arrays.items()}
    write_atomically(path, lambda temporary: torch.save(tensors, temporary))


def _read_safe(path: Path) -> dict[str, np.ndarray]:
    try:
        entries = safetensors.deserialize(path.read_bytes())
    except (safetensors.SafetensorError, OSError) as error:
        raise ReportedError(f"{path} cannot be read as safetensors ({error}); use another copy") from error
    arrays = {}
    for name, entry in sorted(entries, key=lambda entry: entry[0]):  # they come in another order each time
        if entry["dtype"] not in _NUMPY:
            raise _other_type(path, name, entry["dtype"])
        array = np.frombuffer(entry["data"], _NUMPY[entry["dtype"]])
        if entry["dtype"] == "BF16":  # the upper half of a float32
            array = (array.astype("<u4") << 16).view("<f4")
        elif entry["dtype"] == "F16":
            array = array.astype(np.float32)
        try:
            arrays[name] = array.reshape(entry["shape"])
        except (ValueError, OverflowError) as error:  # [0, 2**63], or a hundred axes
            raise ReportedError(f"{path}: {name!r:.100} has a shape that is no array's; use another copy") from error
    return arrays


def _read_pickled(path: Path) -> dict[str, np.ndarray]:
    torch = _import_torch(path)
    try:
        # PyTorch stores without compression, and reads with: a small file could unfold to fill the memory.
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                _check_claim(path, sum(entry.file_size for entry in archive.infolist()))
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except ReportedError:
        raise
    except Exception as error:  # what PyTorch raises for a damaged or a hostile file is of many kinds
        raise ReportedError(
            f"{path} cannot be read as PyTorch weights: it is damaged or holds more than tensors; "
            "save them again with torch.save(model.state_dict(), FILE)"
        ) from error
    if not isinstance(loaded, dict) or not all(isinstance(name, str) for name in loaded):
        raise ReportedError(f"{path} holds a {type(loaded).__name__}, expected a state_dict: tensors by their names")
    others = [name for name, value in loaded.items() if not isinstance(value, torch.Tensor)]
    if others:
        raise ReportedError(
            f"{path} holds more than tensors, first {others[0]!r:.60}, a {type(loaded[others[0]]).__name__}; "
            "save the model's state_dict alone"
        )
    # A tensor can claim any shape over a small storage; unfolding it would take all memory.
    _check_claim(path, sum(value.numel() * value.element_size() for value in loaded.values()))
    accepted = (torch.float32, torch.float16, torch.bfloat16, torch.int64)
    arrays = {}
    for name, value in loaded.items():
        if value.layout != torch.strided:
            raise ReportedError(f"{path}: {name!r:.100} is not stored as a dense array; save it as one")
        if value.dtype not in accepted:
            raise _other_type(path, name, str(value.dtype).removeprefix("torch."))
        arrays[name] = (value if value.dtype == torch.int64 else value.float()).numpy()
    return arrays


def _check_claim(path: Path, claimed: int) -> None:
    size = path.stat().st_size
    if claimed > size:
        raise ReportedError(f"{path} has {size:,} bytes, but its tensors claim {claimed:,}; use another copy")


def _other_type(path: Path, name: str, found: str) -> ReportedError:
    return ReportedError(f"{path}: {name!r:.100} has the type {found}, expected {FLOATS}")


def _import_torch(path: Path):
    try:
        import torch  # not a requirement of the project, and slow to import
    except ImportError as error:
        raise ReportedError(
            f"{path} needs PyTorch, which is not installed; pip install torch, or use .safetensors instead of .pth"
        ) from error
    return torch
