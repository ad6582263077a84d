"""PyTorch's weights in files: .safetensors, which needs no PyTorch, and .pth, which does (see `src.deploy.pickled`)."""

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors
from safetensors.numpy import save_file

from src.utils.errors import ReportedError, UsageError
from src.utils.file_kind import what_it_is
from src.utils.files import NO_SUCH_FILE, no_file
from src.utils.outside import UnfitFileError, open_outside, read_outside
from src.utils.shown import printable
from src.utils.strict_json import parse_json

PICKLED = (".pth", ".pt")
ALSO_PICKLED = (".tar", ".bin")  # as model_best.pth.tar and pytorch_model.bin
SAFE = ".safetensors"
FLOATS = "float32, float16 or bfloat16"
MAX_HEADER = 2**24  # bytes of names and shapes; a DenseNet's are a tenth of a megabyte
MAX_SECONDS = 600
MAX_BYTES = 2**32  # of a file: it is read as a whole, and no DenseNet in use needs a tenth of it

_ROOT = Path(__file__).parents[2]
_NUMPY = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8"}


def is_torch_file(path: Path) -> bool:
    """Whether it begins as PyTorch's or safetensors' files do, whatever it is called: Lightning's end in .ckpt too."""
    try:
        with open_outside(path) as file:
            head = file.read(10)
    except OSError:
        return False
    return head.startswith((b"PK", b"\x80")) or head[8:10] == b'{"'


def read_torch_weights(path: Path, entry: str = "") -> tuple[dict[str, np.ndarray], str]:
    """The arrays of a state_dict by their names, 16-bit numbers as float32 and counters as int64, and the entry taken.

    entry: the path of keys to the state_dict in what a training framework saved; needed where it holds several.
    Raises ReportedError when `path` is missing, damaged, no state_dict, or holds other types of numbers, and for
    pickled weights when PyTorch is not installed.
    """
    try:
        with open_outside(path) as file:
            size, head = os.fstat(file.fileno()).st_size, file.read(10)
    except OSError as error:
        missing = error.errno in NO_SUCH_FILE or isinstance(error, (UnfitFileError, IsADirectoryError))
        found = f"{path} {no_file(path)}" if missing else f"{path} cannot be read: {error.strerror}"
        raise ReportedError(f"{found}; give a state_dict as .pth or .safetensors") from error
    if size > MAX_BYTES:
        raise ReportedError(f"{path} has {size:,} bytes, expected at most {MAX_BYTES:,}; use another copy")
    if path.suffix == SAFE or head[8:10] == b'{"':
        if entry:
            raise UsageError(f"{path} is a .safetensors file, which has no entries; leave --entry out")
        return _read_safe(path), ""
    return _read_pickled(path, entry)


def write_torch_weights(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Fill the file `path` with `arrays` as a state_dict. Raises OSError, and without PyTorch ReportedError."""
    if path.suffix == SAFE:
        save_file(dict(arrays), path, {"format": "pt"})
        return
    torch = _import_torch(path)
    torch.save({name: torch.from_numpy(value) for name, value in arrays.items()}, path)


def _read_safe(path: Path) -> dict[str, np.ndarray]:
    try:
        return _arrays(path, read_outside(path, MAX_BYTES))
    except OSError as error:
        raise ReportedError(f"{path} cannot be read: {error.strerror}; try again when it can be read") from error


def _arrays(path: Path, data: bytes) -> dict[str, np.ndarray]:
    """What a safetensors file holds, `data` being all of it."""
    if int.from_bytes(data[:8], "little") > MAX_HEADER and data[8:9] == b"{":
        raise ReportedError(f"{path} cannot be read as safetensors (a header beyond any network's); use another copy")
    try:
        entries = safetensors.deserialize(data)
    except (safetensors.SafetensorError, OSError) as error:
        known = what_it_is(path)
        what = printable(str(error))[:200]
        found = f"it is {known}" if known and ".safetensors" not in known else f"{what}; use another copy"
        raise ReportedError(f"{path} cannot be read as safetensors: {found}") from error
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


def _read_pickled(path: Path, entry: str) -> tuple[dict[str, np.ndarray], str]:
    if importlib.util.find_spec("torch") is None:
        raise _no_torch(path)
    done = _read_apart(path, entry)
    text, _, data = done.stdout.partition(b"\n")
    if done.returncode:
        raise _unread(path, done)
    answer = parse_json(text)
    if "error" in answer:
        known = what_it_is(path)
        other = known and "PyTorch" not in known
        raise ReportedError(
            str(path) + (f" cannot be read as PyTorch weights: it is {known}" if other else answer["error"])
        )
    return _arrays(path, data), answer["entry"]


def _read_apart(path: Path, entry: str) -> subprocess.CompletedProcess:
    """What `src.deploy.pickled`, a process of its own, says of the file."""
    # The path is absolute: so it is no flag, and the module is found whatever the working directory is.
    command = [sys.executable, "-m", "src.deploy.pickled", str(path.absolute()), entry]
    try:
        return subprocess.run(command, cwd=_ROOT, capture_output=True, timeout=MAX_SECONDS)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise ReportedError(f"{path} was not read within {MAX_SECONDS} s; use another copy") from error


def _unread(path: Path, done: subprocess.CompletedProcess) -> ReportedError:
    """What to say of a file that its reader did not survive."""
    limited = done.returncode in (3, -signal.SIGXCPU, -signal.SIGKILL) or b"MemoryError" in done.stderr[-300:]
    if limited or b"alloc" in done.stderr[-1000:]:
        return ReportedError(
            f"{path} takes more memory or time than weights in a file of its size can; it is damaged or hostile, use "
            "another copy"
        )
    return ReportedError(
        f"{path} cannot be read as PyTorch weights: its reader ended with {done.returncode} "
        f"({done.stderr.decode(errors='replace').strip()[-200:]}); use another copy"
    )


def _other_type(path: Path, name: str, found: str) -> ReportedError:
    return ReportedError(f"{path}: {name!r:.100} has the type {found}, expected {FLOATS}")


def _import_torch(path: Path):
    try:
        import torch  # not a requirement of the project, and slow to import
    except ImportError as error:
        raise _no_torch(path) from error
    return torch


def _no_torch(path: Path) -> ReportedError:
    return ReportedError(
        f"{path} needs PyTorch, which is not installed; pip install torch, or use .safetensors instead of .pth"
    )
