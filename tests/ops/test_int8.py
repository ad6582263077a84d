"""Products of 8-bit integers: each instruction set adds up the same sums, with weights at the limit of 16 bits."""

import platform
import subprocess
from pathlib import Path

import pytest
from shared import kept_program

from src.ops.build import SOURCES
from src.ops.compile import find_compiler

HERE = Path(__file__).parent
AVX2 = ["-mavx2", "-mfma"]
SETS = {
    "none": ([], []),  # as on processors without a set of their own
    "avx2": (AVX2, []),
    "avx_vnni": ([*AVX2, "-DEMULATED_AVX_VNNI"], []),
    "avx512": ([*AVX2, "-DEMULATED_WITHOUT_VNNI"], [HERE / "emulated"]),
    "avx512_vnni": (AVX2, [HERE / "emulated"]),
}

pytestmark = [pytest.mark.slow, pytest.mark.skipif(platform.machine() != "x86_64", reason="the instructions are x86's")]


@pytest.mark.parametrize("name", SETS)
def test_sums_are_exact(name):
    flags, emulated = SETS[name]
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Wno-psabi", *flags]
    program = kept_program(find_compiler(), flags, [*emulated, SOURCES], HERE / "int8_products.cc")
    done = subprocess.run([program], capture_output=True, text=True, check=True, timeout=100)
    wrong, _, all_of_them, _ = done.stdout.split()
    assert int(wrong) == 0
    assert int(all_of_them) > 15_000
