"""What a compiled graph depends on, as one digest: all that a cell holds, the code, the versions, the surroundings.

The description is of the cell itself and not of the flags that made it, so that no key of the configuration can be
forgotten: whatever reaches the graph is an attribute of some cell, primitive or closure.
"""

import enum
import functools
import hashlib
import os
import platform
import sys
import types
from collections.abc import Iterable, Mapping
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn

from src.utils.own_folder import is_temporary

ROOT = Path(__file__).resolve().parents[2]
_PLAIN = (type(None), bool, int, float, complex, str, bytes)
# What every cell has: bookkeeping of MindSpore, and times and ids of this process.
_BOOKKEEPING = frozenset(vars(nn.Cell())) | {"_cell_init_args", "graph_cache", "_compiled_graphs"}
# Of the bookkeeping, what reaches the graph.
_IN_THE_GRAPH = (
    "training",
    "requires_grad",
    "mixed_precision_type",
    "_amp_level",
    "_jit_config_dict",
    "_func_graph_flags",
)
# Where a process runs, not what it computes. All other variables of MindSpore count.
_PLACE = (
    "MS_SCHED_HOST",
    "MS_SCHED_PORT",
    "MS_ROLE",
    "MS_NODE_ID",
    "MS_COMPILER_CACHE_",
    "MS_SUBMODULE_LOG_v",
    "MS_OM_PATH",
)


def graph_key(cell: nn.Cell, inputs: Iterable[Tensor]) -> str:
    """A SHA-256 in hexadecimal that changes with everything that shapes the graph of `cell` for `inputs`.

    The values of parameters and inputs do not shape it; those of other tensors do, as constants. Raises TypeError for
    an attribute of a kind that cannot be described, or that names a place which ends with this process: such a cell has
    no key.
    """
    signature = [(tuple(value.shape), str(value.dtype)) for value in inputs]
    words = [word for value in (_surroundings(), signature, cell) for word in _Description(value).words]
    return hashlib.sha256("\0".join(words).encode(errors="backslashreplace")).hexdigest()


def _surroundings() -> dict[str, object]:
    variables = {
        name: text for name, text in os.environ.items() if name.startswith("MS_") and not name.startswith(_PLACE)
    }
    ranks = {name: os.environ.get(name) for name in ("RANK_ID", "RANK_SIZE", "DEVICE_ID")}
    context = {name: str(ms.get_context(name)) for name in ("mode", "device_target", "deterministic", "jit_level")}
    parallel = {name: str(ms.get_auto_parallel_context(name)) for name in ("parallel_mode", "gradients_mean")}
    versions = {"mindspore": ms.__version__, "numpy": np.__version__, "python": platform.python_version()}
    return {
        "variables": variables, "ranks": ranks, "context": context, "parallel": parallel, "versions": versions,
        "machine": platform.machine(), "code": _code_digest(),
    }  # fmt: skip


@functools.cache
def _code_digest() -> str:
    """Of the project's Python files. Not of the script that was started: train.py's evaluation is that of eval.py."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "src").rglob("*.py")):
        digest.update(path.name.encode(errors="backslashreplace") + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


@functools.cache
def _foreign_digest(module: str) -> str:
    """Of the file of a module that is neither this project's nor MindSpore's, such as a script with cells of its own.

    Raises TypeError when it has none, as what was typed in.
    """
    if module.split(".")[0] in ("src", "mindspore", *sys.builtin_module_names):
        return ""
    file = getattr(sys.modules.get(module), "__file__", None)
    if not file:
        raise TypeError(f"it uses {module}, which is in no file")
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


class _Description:
    """A value, and all that it holds, as `words` that are the same in every process."""

    def __init__(self, value: object) -> None:
        self.words: list[str] = []
        # By its id, the number of each object that was described before, and the object, so that it keeps its id.
        self._seen: dict[int, tuple[int, object]] = {}
        self._add(value)

    def _add(self, value: object) -> None:
        if isinstance(value, str) and is_temporary(value):  # kernels that were compiled for this process alone
            raise TypeError(f"it uses {value}, which is there for this process alone")
        if isinstance(value, _PLAIN):
            self.words.append(f"{type(value).__name__} {value!r}")
        elif id(value) in self._seen:
            self.words.append(f"again {self._seen[id(value)][0]}")
        else:
            self._seen[id(value)] = len(self._seen), value
            self.words.append(_name(type(value)))
            self._add_content(value)

    def _add_content(self, value: object) -> None:
        if isinstance(value, Parameter):
            self.words.append(f"{value.name} {tuple(value.shape)} {value.dtype} {value.requires_grad}")
        elif isinstance(value, Tensor):
            digest = hashlib.sha256(value.asnumpy().tobytes()).hexdigest()
            self.words.append(f"{value.dtype} {tuple(value.shape)} {digest}")
        elif isinstance(value, np.ndarray | np.generic):
            self.words.append(f"{value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}")
        elif isinstance(value, nn.Cell):
            own = {name: item for name, item in vars(value).items() if name not in _BOOKKEEPING}
            shared = {name: vars(value).get(name) for name in _IN_THE_GRAPH}
            self._add_all((own, shared, value._cells, value._params, value._buffers))
        elif isinstance(value, Mapping):
            self._add_all(item for pair in value.items() for item in pair)
        elif isinstance(value, tuple | list):
            self._add_all(value)
        elif isinstance(value, set | frozenset):
            self.words.append(repr(sorted(map(repr, value))))
        elif isinstance(value, functools.partial):
            self._add_all((value.func, value.args, value.keywords))
        elif isinstance(value, types.FunctionType):
            self.words.append(_name(value))
            closure = {
                name: cell.cell_contents
                for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
                if name != "hash_obj"  # of MindSpore's jit: the time at which it was called
            }
            self._add_all((closure, value.__defaults__, value.__kwdefaults__))
        elif isinstance(value, types.MethodType):
            self._add_all((value.__func__, value.__self__))
        elif isinstance(value, type | types.BuiltinFunctionType | types.BuiltinMethodType):
            self.words.append(_name(value))
        elif isinstance(value, enum.Enum | ms.Type) or hasattr(type(value), "__members__"):  # and enums of C++
            self.words.append(str(value))
        elif hasattr(value, "__dict__"):
            self._add(vars(value))
        else:
            raise TypeError(f"a {_name(type(value))} cannot be described")

    def _add_all(self, values: Iterable[object]) -> None:
        for value in values:
            self._add(value)
        self.words.append("end")


def _name(thing: object) -> str:
    module = getattr(thing, "__module__", "")
    digest = _foreign_digest(module) if isinstance(module, str) and module in sys.modules else ""
    return f"{module}.{getattr(thing, '__qualname__', repr(type(thing)))}" + (f" {digest}" if digest else "")
