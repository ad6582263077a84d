"""Compile the C++ kernels of src/ops/cpp, once for each kind of CPU, and say whether they are used and why.

python -m src.ops.build --check

The library is kept in ${XDG_CACHE_HOME:-~/.cache}/densenet-mindspore/kernels. CXX names the compiler, otherwise it is
g++, clang++ or c++. DENSENET_KERNELS_ISA (amx_bf16, avx512_bf16, avx512, avx2) asks for less than the CPU has. The exit
status is 1 when the kernels cannot be used.
"""

import hashlib
import json
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from src.ops.compile import (
    Call,
    CompilationError,
    UnknownFlagError,
    compile_command,
    compile_library,
    compiler_version,
    find_compiler,
)
from src.ops.cpu import CPUINFO, INSTRUCTION_SETS, instruction_sets
from src.ops.cpu import ISA_VARIABLE as ISA_VARIABLE
from src.ops.library_cache import cached_library
from src.utils.arguments import Parser
from src.utils.errors import ReportedError, run
from src.utils.logging import get_logger

SOURCES = Path(__file__).parent / "cpp"
LOG_NAME = "compile.log"


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
    print(f"compiler: {shlex.join(compiler)}, {compiler_version(compiler)}")
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
        return Kernels(None, None, f"the C++ kernels are not used: {CPUINFO} names none of {known} for this CPU")
    try:
        instruction_set, library, origin = best_library(wanted, lambda one: _library(one, sources))
    except ReportedError as error:
        return Kernels(None, None, f"the C++ kernels are not used: {error}")
    lacks = "" if instruction_set == wanted[0] else f"; the compiler does not know {wanted[0]}"
    return Kernels(library, instruction_set, f"the C++ kernels are used: {instruction_set}, {origin}{lacks}")


def best_library(wanted: Sequence[str], library_of: Callable[[str], tuple[Path, str]]) -> tuple[str, Path, str]:
    """The first of the instruction sets `wanted` that the compiler knows, its library and where that comes from.

    library_of: `compiled_once` for a set. Raises the ReportedError of a library that cannot be made.
    """
    *newer, oldest = wanted
    for instruction_set in newer:
        with suppress(UnknownFlagError):  # an older one may do
            return instruction_set, *library_of(instruction_set)
    return oldest, *library_of(oldest)


def _library(instruction_set: str, sources: Path) -> tuple[Path, str]:
    """The loadable library and where it comes from. Raises ReportedError when there is none."""
    return compiled_once(
        "the C++ kernels",
        instruction_set,
        lambda compiler, library: compile_command(compiler, instruction_set, sources, library),
        (sources,),
    )


def compiled_once(
    what: str,
    instruction_set: str,
    command: Callable[[Sequence[str], Path], Call],
    folders: Sequence[Path],
    kind: str = "",
) -> tuple[Path, str]:
    """A loadable library of the cache, compiled when it is not there, and where it comes from. Raises ReportedError.

    command(compiler, library): the compiler's one call, for sources in `folders`. what: for the log. kind: what the
    library's name begins with.
    """
    compiler, before = find_compiler(), _texts(folders)

    def compile_to(library: Path) -> None:
        get_logger().info("compiling %s for %s with %s", what, instruction_set, compiler[0])
        compile_library(command(compiler, library), library.with_name(LOG_NAME))
        if _texts(folders) != before:  # the key would promise what the library is not
            raise CompilationError(f"{folders[0]} changed while it was compiled; start again")

    words = [*command([], Path("library"))]
    for folder in folders:  # wherever the checkout is
        words = [word.replace(str(folder), folder.name) for word in words]
    return cached_library(f"{kind}{instruction_set}-{_key(compiler, words, before)}", compile_to)


def _texts(folders: Sequence[Path]) -> dict[str, str]:
    """SHA-256 of each source and header, by its path in its folder; not of copies in engine/out, where
    scripts/build_engine.sh builds.
    """
    return {
        f"{folder.name}/{path.relative_to(folder)}": hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".cc", ".h") and "out" not in path.relative_to(folder).parts
    }


def _key(compiler: Sequence[str], words: Sequence[str], texts: Mapping[str, str]) -> str:
    """Changes with the sources, the words of the command, and the compiler, told by its file: it may be slow to
    say more.
    """
    programs = [Path(path).resolve() for word in compiler if (path := shutil.which(word))]  # of `ccache g++` both
    stamps = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in programs]
    return hashlib.sha256(json.dumps([compiler, stamps, words, texts]).encode()).hexdigest()[:16]


if __name__ == "__main__":
    sys.exit(run(main))
