"""Compile the C++ kernels of src/ops/cpp, once for each kind of CPU, and say whether they are used and why.

python -m src.ops.build --check

The library is kept in ${XDG_CACHE_HOME:-~/.cache}/densenet-mindspore/kernels. CXX names the compiler, otherwise it is
g++, clang++ or c++. DENSENET_KERNELS_ISA (amx_bf16, avx512_bf16, avx512, avx2) asks for less than the CPU has. The exit
status is 1 when the kernels cannot be used.
"""

import ctypes
import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from src.ops.compile import CompilationError, UnknownFlagError, compile_library
from src.ops.library_cache import cached_library
from src.utils.arguments import Parser
from src.utils.errors import ReportedError, UsageError, run
from src.utils.logging import get_logger

SOURCES = Path(__file__).parent / "cpp"
LOG_NAME = "compile.log"
ISA_VARIABLE = "DENSENET_KERNELS_ISA"
_CPUINFO = Path("/proc/cpuinfo")
# Without warnings: a newer compiler that knows more of them must not cost its user the kernels. The tests ask for all.
_FLAGS = ("-std=c++17", "-O3", "-ffp-contract=fast", "-fopenmp", "-fPIC", "-shared")


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


@dataclass(frozen=True)
class Kernels:
    """The compiled kernels, or why there are none.

    library: for `ops.Custom(f"{library}:function", ...)`; None when the kernels cannot be used. instruction_set: the
    one of INSTRUCTION_SETS that it is compiled for, None without a library. reason: what is used and why, a sentence.
    """

    library: Path | None
    instruction_set: str | None
    reason: str

    @property
    def has_bf16(self) -> bool:
        """Whether the convolutions can multiply bfloat16."""
        return self.instruction_set is not None and INSTRUCTION_SETS[self.instruction_set].has_bf16


def main(argv: Sequence[str]) -> None:
    """Print what is used and why. Raises ReportedError when the kernels cannot be used."""
    parser = Parser("python -m src.ops.build --check", __doc__)
    parser.add_argument("--check", action="store_true", required=True)
    parser.parse_args(argv)
    found = kernels()
    print(f"instruction set: {next(iter(instruction_sets()), 'none that the kernels know')}")
    print(f"bf16: {'yes' if found.has_bf16 else 'no'}")
    if found.library is None:
        raise ReportedError(found.reason)
    compiler = find_compiler()
    print(f"compiler: {shlex.join(compiler)}, {_version(compiler)}")
    print(f"library: {found.library}")
    print(found.reason)


@cache
def kernels(sources: Path = SOURCES) -> Kernels:
    """The kernels in `sources` for this CPU, compiled if they have not been; asked once a process.

    Processes that start together compile once and wait for each other. Raises UsageError for a value of
    DENSENET_KERNELS_ISA that is none; everything else that is in the way becomes the reason.
    """
    wanted = instruction_sets()
    if not wanted:
        known = ", ".join(INSTRUCTION_SETS)
        return Kernels(None, None, f"the C++ kernels are not used: {_CPUINFO} names none of {known} for this CPU")
    refusal: ReportedError | None = None
    for instruction_set in wanted:
        try:
            library, origin = _library(instruction_set, sources)
        except UnknownFlagError as error:  # an older one may do
            refusal = error
            continue
        except ReportedError as error:
            refusal = error
            break
        lacks = f"; the compiler does not know {wanted[0]}" if refusal else ""
        return Kernels(library, instruction_set, f"the C++ kernels are used: {instruction_set}, {origin}{lacks}")
    return Kernels(None, None, f"the C++ kernels are not used: {refusal}")


def instruction_sets(
    cpuinfo: Path = _CPUINFO, machine: str = "", request_amx: Callable[[], bool] | None = None
) -> list[str]:
    """Those of INSTRUCTION_SETS that this CPU has, the best first; the one that DENSENET_KERNELS_ISA asks for, if any.

    machine: as `platform.machine()` names it, which is the default. request_amx: whether the operating system lets this
    process use AMX, which it must be asked for. Raises UsageError for a value of the variable that is unknown or not in
    this CPU.
    """
    machine, features = machine or platform.machine(), _cpu_features(cpuinfo)
    if features >= _AMX and not (request_amx or _request_amx)():
        features -= _AMX
    there = [name for name, one in INSTRUCTION_SETS.items() if one.machine == machine and one.features <= features]
    asked = os.environ.get(ISA_VARIABLE)
    if asked and asked not in there:
        known = f"this CPU has {', '.join(there) or 'none of them'}"
        raise UsageError(f"{ISA_VARIABLE} is {asked!r}, expected one of {', '.join(INSTRUCTION_SETS)}; {known}")
    return [asked] if asked else there


def find_compiler() -> list[str]:
    """The words that call the C++ compiler, the first an absolute path: CXX, otherwise g++, clang++ or c++.

    Raises ReportedError when there is none.
    """
    asked = os.environ.get("CXX", "").strip()
    try:
        commands = [shlex.split(asked)] if asked else [["g++"], ["clang++"], ["c++"]]
    except ValueError as error:
        raise ReportedError(f"CXX is {asked!r}, which is no command ({error}); correct or unset it") from None
    for name, *arguments in commands:
        if path := shutil.which(name):
            return [os.path.abspath(path), *arguments]  # noqa: PTH100, its links may be what tells it its job
    if asked:
        raise ReportedError(f"CXX names {commands[0][0]!r}, which is no program; correct or unset it")
    raise ReportedError("no C++ compiler was found; install g++, or name one in CXX")


def compile_command(compiler: Sequence[str], instruction_set: str, sources: Path, library: Path) -> list[str]:
    """The one call that makes `library` of all .cc files in `sources`."""
    files = sorted(map(str, sources.rglob("*.cc")))
    # Behind CXX's own arguments: what they include comes first.
    return [*compiler, *_FLAGS, *INSTRUCTION_SETS[instruction_set].flags, f"-I{sources}", "-o", str(library), *files]


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


def _library(instruction_set: str, sources: Path) -> tuple[Path, str]:
    """The loadable library and where it comes from. Raises ReportedError when there is none."""
    compiler = find_compiler()
    texts = _texts(sources)

    def compile_to(library: Path) -> None:
        get_logger().info("compiling the C++ kernels for %s with %s", instruction_set, compiler[0])
        compile_library(compile_command(compiler, instruction_set, sources, library), library.with_name(LOG_NAME))
        if _texts(sources) != texts:  # the key would promise what the library is not
            raise CompilationError(f"{sources} changed while it was compiled; start again")

    return cached_library(f"{instruction_set}-{_key(compiler, instruction_set, texts)}", compile_to)


def _texts(sources: Path) -> dict[str, str]:
    """SHA-256 of each source and header, by its path in `sources`."""
    return {
        str(path.relative_to(sources)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(sources.rglob("*"))
        if path.suffix in (".cc", ".h")
    }


def _key(compiler: Sequence[str], instruction_set: str, texts: dict[str, str]) -> str:
    """Changes with the sources, the flags and the compiler, which is told by its file: it may be slow to say more."""
    programs = [Path(path).resolve() for word in compiler if (path := shutil.which(word))]  # of `ccache g++` both
    stamps = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in programs]
    flags = [*_FLAGS, *INSTRUCTION_SETS[instruction_set].flags]
    return hashlib.sha256(json.dumps([compiler, stamps, flags, texts]).encode()).hexdigest()[:16]


def _version(compiler: Sequence[str]) -> str:
    done = subprocess.run([*compiler, "--version"], capture_output=True, text=True, errors="replace", check=False)  # noqa: S603
    return next(iter(done.stdout.splitlines()), "which does not tell its version")


if __name__ == "__main__":
    sys.exit(run(main))
