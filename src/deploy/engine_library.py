"""The CPU engine's library: `engine/` and the kernels of `src/ops/cpp`, compiled once a machine for its own CPU.

python -m src.deploy.engine_library FILE

copies it to FILE, for programs that are linked with it; scripts/build_engine.sh makes one for other CPUs too.
"""

import shutil
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from src.ops.build import SOURCES, best_library, compiled_once
from src.ops.compile import FLAGS, Call
from src.ops.cpu import CPUINFO, ENGINE_SETS, instruction_sets
from src.utils.arguments import Parser
from src.utils.errors import ReportedError, run
from src.utils.files import write_atomically

ENGINE = Path(__file__).parents[2] / "engine"
# Of the kernels: what knows MindSpore, and what only training needs.
LEFT_OUT = ("operators.cc", "signatures.cc", "dense_block_backward.cc", "stem_backward.cc", "sgd.cc", "average.cc")


def main(argv: Sequence[str]) -> None:
    """Copy the library to where the command line `argv` says. Raises ReportedError."""
    parser = Parser("python -m src.deploy.engine_library FILE", __doc__)
    parser.add_argument("file", type=Path, metavar="FILE")
    file, library = parser.parse_args(argv).file, engine_library()
    if not file.is_file() or file.read_bytes() != library.read_bytes():  # one that is in use is not written into
        write_atomically(file, lambda temporary: shutil.copy(library, temporary))


def engine_sources() -> list[Path]:
    """All that is compiled, in the order in which it is linked."""
    kernels = (path for path in sorted(SOURCES.rglob("*.cc")) if path.name not in LEFT_OUT)
    return [*(path for path in sorted(ENGINE.glob("*.cc")) if path.name != "main.cc"), *kernels]


def engine_flags(instruction_set: str) -> list[str]:
    """The flags for a library of one instruction set, beside those of src/ops/compile.py."""
    names = [f"-Ddensenet=densenet_{instruction_set}", f"-DDENSENET_HAS_{instruction_set}"]
    return [*ENGINE_SETS[instruction_set].flags, "-fvisibility=hidden", *names, f"-I{SOURCES}", f"-I{ENGINE}"]


@cache
def engine_library() -> Path:
    """The library of the best instruction set that this CPU and the compiler have; compiled if it has not been.

    Raises ReportedError when it cannot be, and UsageError for a value of DENSENET_KERNELS_ISA that is none.
    """
    wanted = instruction_sets(known=ENGINE_SETS)
    if not wanted:
        known = ", ".join(ENGINE_SETS)
        raise ReportedError(f"the CPU engine cannot be used: {CPUINFO} names none of {known} for this CPU")
    try:
        return best_library(wanted, _library)[1]
    except ReportedError as error:
        raise ReportedError(f"the CPU engine cannot be used: {error}") from error


def _library(instruction_set: str) -> tuple[Path, str]:
    def command(compiler: Sequence[str], library: Path) -> Call:
        return Call((*compiler, *FLAGS, *engine_flags(instruction_set)), library, tuple(engine_sources()))

    return compiled_once("the CPU engine", instruction_set, command, (SOURCES, ENGINE), kind="engine-")


if __name__ == "__main__":
    sys.exit(run(main))
