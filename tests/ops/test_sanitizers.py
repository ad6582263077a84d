"""The kernels under the compilers' sanitizers: run_operators.cc calls every operator on awkward shapes."""

import math
import subprocess
from functools import cache
from pathlib import Path

import pytest
from direct import INSTRUCTION_SETS
from shared import kept_program

from src.ops import build

DRIVER = Path(__file__).with_name("run_operators.cc")
BEST, *OTHERS = INSTRUCTION_SETS
# What is checked is the same at -O0: to optimise the checks of undefined behaviour takes half a minute, to run without
# that three seconds more. The others, of fewer checks, are optimised: some warnings come of what that finds out.
MEMORY = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fopenmp", "-O0")
ADDRESS = ("-fsanitize=address", "-fopenmp", "-O1")
THREADS = ("-fsanitize=thread", "-fopenmp", "-DDENSENET_THREADS=4", "-O1")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def outputs_of():
    """(instruction set, flags) -> of each output of the driver its name, a checksum and the sum of absolute values."""

    @cache
    def outputs(instruction_set, sanitizer):
        flags = ["-std=c++17", "-g1", "-Wall", "-Wextra", "-Werror", "-ffp-contract=fast", *sanitizer]
        flags += build.INSTRUCTION_SETS[instruction_set].flags
        sources = sorted(build.SOURCES.rglob("*.cc"))
        program = kept_program(build.find_compiler(), flags, [build.SOURCES], DRIVER, *sources, in_one_text=True)
        lines = [line.split() for line in printed_by(program).splitlines()]
        return [(f"{name} {number}", float(checksum), float(size)) for name, number, checksum, size in lines]

    return outputs


def printed_by(*command: object) -> str:
    """What the command prints when it has nothing to report."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_memory_and_undefined_behaviour(outputs_of):
    outputs = outputs_of(BEST, MEMORY)
    assert len(outputs) > 150
    assert all(math.isfinite(size) for _, _, size in outputs), "what was never written was read"


@pytest.mark.parametrize(
    "instruction_set, sanitizer", [(BEST, THREADS), *((name, ADDRESS) for name in OTHERS)], ids=["threads", *OTHERS]
)
def test_all_builds_compute_the_same(outputs_of, instruction_set, sanitizer):
    """The numbers of bfloat16 are coarse: a sum in another order may round to the next one."""
    expected, found = (
        [output for output in outputs if not output[0].startswith("bf16")]
        for outputs in (outputs_of(BEST, MEMORY), outputs_of(instruction_set, sanitizer))
    )
    for (name, *values), (found_name, *found_values) in zip(expected, found, strict=True):
        assert found_name == name
        assert found_values == pytest.approx(values, abs=2e-6 * values[1]), name
