"""What this CPU can do: the instruction sets that the C++ kernels know, and which of them it has.

DENSENET_KERNELS_ISA (amx_bf16, avx512_bf16, avx512, avx2) asks for less than the CPU has.
"""

import ctypes
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from src.utils.errors import UsageError

ISA_VARIABLE = "DENSENET_KERNELS_ISA"
CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class InstructionSet:
    """One of a processor's ways to compute: the machine and features that it takes, and the compiler's flags for it."""

    machine: str
    features: frozenset[str]
    flags: tuple[str, ...]
    has_bf16: bool = False


_AVX512 = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx2", "fma"})
_AVX512_FLAGS = (
    *("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx2", "-mfma"),
    "-mprefer-vector-width=512",
)
_BF16, _BF16_FLAGS = _AVX512 | {"avx512_bf16"}, (*_AVX512_FLAGS, "-mavx512bf16")
_AMX = frozenset({"amx_tile", "amx_bf16"})
# The best of each machine first. Never -march=native: a cache may be shared by machines of several kinds.
INSTRUCTION_SETS = {
    "amx_bf16": InstructionSet("x86_64", _BF16 | _AMX, (*_BF16_FLAGS, "-mamx-tile", "-mamx-bf16"), has_bf16=True),
    "avx512_bf16": InstructionSet("x86_64", _BF16, _BF16_FLAGS, has_bf16=True),
    "avx512": InstructionSet("x86_64", _AVX512, _AVX512_FLAGS),
    "avx2": InstructionSet("x86_64", frozenset({"avx2", "fma"}), ("-mavx2", "-mfma")),
    "neon": InstructionSet("aarch64", frozenset({"asimd"}), ()),
}


def _with(name: str, feature: str, flag: str) -> InstructionSet:
    one = INSTRUCTION_SETS[name]
    return replace(one, features=one.features | {feature}, flags=(*one.flags, flag))


# Those of the CPU engine: with VNNI too, which multiplies integers; training has none.
ENGINE_SETS = {
    "amx_bf16": _with("amx_bf16", "avx512_vnni", "-mavx512vnni"),
    "avx512_bf16": _with("avx512_bf16", "avx512_vnni", "-mavx512vnni"),
    "avx512_vnni": _with("avx512", "avx512_vnni", "-mavx512vnni"),
    "avx512": INSTRUCTION_SETS["avx512"],
    "avx_vnni": _with("avx2", "avx_vnni", "-mavxvnni"),
    "avx2": INSTRUCTION_SETS["avx2"],
    "neon": INSTRUCTION_SETS["neon"],
}


def instruction_sets(
    cpuinfo: Path = CPUINFO,
    machine: str = "",
    request_amx: Callable[[], bool] | None = None,
    known: Mapping[str, InstructionSet] = INSTRUCTION_SETS,
) -> list[str]:
    """Those of `known` that this CPU has, the best first; the one that DENSENET_KERNELS_ISA asks for, if any.

    machine: as `platform.machine()` names it, which is the default. request_amx: whether the operating system lets this
    process use AMX, which it must be asked for. Raises UsageError for a value of the variable that is unknown or not in
    this CPU.
    """
    machine, features = machine or platform.machine(), _cpu_features(cpuinfo)
    if features >= _AMX and not (request_amx or _request_amx)():
        features -= _AMX
    there = [name for name, one in known.items() if one.machine == machine and one.features <= features]
    asked = os.environ.get(ISA_VARIABLE)
    if asked and asked not in there:
        has = f"this CPU has {', '.join(there) or 'none of them'}"
        raise UsageError(f"{ISA_VARIABLE} is {asked!r}, expected one of {', '.join(known)}; {has}")
    return [asked] if asked else there


def _cpu_features(cpuinfo: Path) -> frozenset[str]:
    """What the first core can do; no more is read, a large machine takes long to describe all of them."""
    try:
        with cpuinfo.open(encoding="ascii", errors="replace") as lines:
            for line in lines:
                name, _, words = line.partition(":")
                if name.strip() in ("flags", "Features"):  # x86, Arm
                    return frozenset(words.split())
    except OSError:
        pass  # another operating system
    return frozenset()


def _request_amx() -> bool:
    """Ask Linux for the tile registers; what it grants holds for all threads and children of this process."""
    arch_prctl, request, tile_data = 158, 0x1023, 18  # on x86_64; ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return ctypes.CDLL(None).syscall(arch_prctl, request, tile_data) == 0
