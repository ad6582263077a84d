"""Reads PyTorch's pickled weights in a process of its own, whose memory and time the file's size bounds.

python -m src.deploy.pickled FILE [ENTRY]

`src.deploy.weight_files` calls it: an unpickler is a small machine, which a few bytes can have fill all memory or
compute for ever. On stdout: one line of JSON, {"error": ...} or {"entry": ...}, then the arrays as safetensors.
"""

import argparse
import json
import os
import re
import resource
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

FIRST_ARRAY = "conv0.weight"  # by which a DenseNet's arrays are told from an optimizer's
MAX_DEPTH = 4
_SPARE_BYTES, _SPARE_SECONDS, _BYTES_PER_SECOND = 2**30, 20, 10**7


class _ReadError(Exception):
    """What the caller will say of the file, behind its name."""


def main(path: Path, entry: str) -> None:
    """Write what `answer` gives for `path` to stdout."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that a library prints comes between
    said, data = answer(path, entry)
    out.write(json.dumps(said).encode() + b"\n" + data)
    out.close()


def answer(path: Path, entry: str) -> tuple[dict[str, str], bytes]:
    """What is to be said of `path`, and its arrays as safetensors. Lowers this process's limits; raises MemoryError."""
    import torch
    from safetensors.torch import save

    _limit(path.stat().st_size)
    try:
        found, arrays = _arrays(path, entry, torch)
        return {"entry": found}, save(arrays)
    except _ReadError as error:
        return {"error": str(error)}, b""


def _limit(size: int) -> None:
    """PyTorch itself is loaded: from here on, the file decides."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
        present = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    _lower(resource.RLIMIT_AS, present + 6 * size + _SPARE_BYTES)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _lower(resource.RLIMIT_CPU, int(usage.ru_utime + usage.ru_stime) + _SPARE_SECONDS + size // _BYTES_PER_SECOND)


def _lower(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


def _arrays(path: Path, entry: str, torch) -> tuple[str, dict]:
    """The path of the entry taken ("" for the whole) and its tensors, dense, as float32 or int64."""
    size = path.stat().st_size
    _check_claim(_unpacked_size(path), size)
    found, state = _chosen(_load(path, torch), entry, torch)
    others = [name for name, value in state.items() if not isinstance(value, torch.Tensor)]
    if others:
        raise _ReadError(
            f" holds more than tensors, first {others[0]!r:.60}, a {type(state[others[0]]).__name__}; save the model's "
            "state_dict alone"
        )
    # A tensor can claim any shape over a small storage; unfolding it would take all memory.
    _check_claim(sum(value.numel() * value.element_size() for value in state.values()), size)
    arrays = {}
    for name, value in state.items():
        if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
            raise _ReadError(f": {name!r:.100} is not stored as a dense array; save it as one")
        if value.dtype not in (torch.float32, torch.float16, torch.bfloat16, torch.int64):
            kind = str(value.dtype).removeprefix("torch.")
            raise _ReadError(f": {name!r:.100} has the type {kind}, expected float32, float16 or bfloat16")
        value = value.detach()
        arrays[name] = (value if value.dtype == torch.int64 else value.float()).contiguous().clone()
    return found, arrays


def _unpacked_size(path: Path) -> int:
    """Of a zip archive. PyTorch stores without compression and reads with: a small file could fill all memory."""
    if not zipfile.is_zipfile(path):
        return 0
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(member.file_size for member in archive.infolist())
    except Exception as error:  # what the standard library raises for a damaged directory is of many kinds
        raise _ReadError(" cannot be read as PyTorch weights: it is a damaged zip archive; use another copy") from error


def _check_claim(claimed: int, size: int) -> None:
    if claimed > size:
        raise _ReadError(f" has {size:,} bytes, but its tensors claim {claimed:,}; use another copy")


def _load(path: Path, torch) -> object:
    import numpy as np

    # What trainers store beside the weights and what only holds values: arguments, a NumPy number as best accuracy.
    harmless = [argparse.Namespace, np.dtype, np.core.multiarray.scalar, type(np.dtype("f8")), type(np.dtype("f4"))]
    try:
        with torch.serialization.safe_globals(harmless):
            return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # what PyTorch raises for a damaged or a hostile file is of many kinds
        if "alloc" in str(error):
            raise MemoryError from error
        other = re.search(r"GLOBAL ([\w.]{1,100}) was not an allowed global", str(error))
        raise _ReadError(
            " cannot be read as PyTorch weights: it is damaged or holds more than tensors; save them again with "
            "torch.save(model.state_dict(), FILE)" + (f"; it asks for {other[1]}" if other else "")
        ) from error


def _chosen(loaded: object, entry: str, torch) -> tuple[str, dict]:
    """The weights in what a training framework saved, and the path of keys to them."""
    if not isinstance(loaded, dict):
        raise _ReadError(f" holds a {type(loaded).__name__}, expected a state_dict: tensors by their names")
    sets = dict(_sets(loaded, "", torch))
    networks = {name: state for name, state in sets.items() if any(key.endswith(FIRST_ARRAY) for key in state)}
    chosen = networks or sets
    if entry:
        if entry not in sets:
            raise _ReadError(f" has no entry {entry!r:.60} of tensors; it has {', '.join(map(repr, chosen)) or 'none'}")
        return entry, sets[entry]
    if len(chosen) > 1:
        raise _ReadError(f" holds several sets of weights: {', '.join(chosen)}; choose one with --entry")
    if not chosen:
        if not loaded or not all(isinstance(name, str) for name in loaded):
            raise _ReadError(" holds no tensors by their names, expected a state_dict")
        return "", loaded
    return next(iter(chosen.items()))


def _sets(found: dict, path: str, torch, depth: int = 1) -> Iterator[tuple[str, dict]]:
    """Every mapping from names to tensors, by its path of keys."""
    if found and all(isinstance(name, str) for name in found):
        tensors = [value for value in found.values() if isinstance(value, torch.Tensor)]
        if len(tensors) == len(found) or any(value.ndim > 1 for value in tensors):
            yield path, found
            return
        if depth < MAX_DEPTH:
            for name, value in found.items():
                if isinstance(value, dict):
                    yield from _sets(value, f"{path}.{name}".removeprefix("."), torch, depth + 1)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), "".join(sys.argv[2:3]))
    except MemoryError:
        os._exit(3)
