"""Products of 8-bit integers: each instruction set adds up the same sums, with weights at the limit of 16 bits."""

import platform
import subprocess
from pathlib import Path

import pytest

from src.ops.build import SOURCES
from src.ops.compile import find_compiler

HERE = Path(__file__).parent
EMULATED = ["-mavx2", "-mfma", f"-I{HERE}/emulated"]  # AVX-512's instructions made of others
SETS = {
    "none": [],  # as on processors without a set of their own
    "avx2": ["-mavx2", "-mfma"],
    "avx_vnni": ["-mavx2", "-mfma", "-DEMULATED_AVX_VNNI"],
    "avx512": [*EMULATED, "-DEMULATED_WITHOUT_VNNI"],
    "avx512_vnni": EMULATED,
}

pytestmark = [pytest.mark.slow, pytest.mark.skipif(platform.machine() != "x86_64", reason="the instructions are x86's")]


@pytest.mark.parametrize("name", SETS)
def test_sums_are_exact(name, tmp_path):
    program = tmp_path / "products"
    command = [*find_compiler(), "-std=c++17", "-O1", "-Wall", "-Wextra", "-Wno-psabi", *SETS[name]]
    subprocess.run([*command, f"-I{SOURCES}", "-o", program, HERE / "int8_products.cc"], check=True)
    done = subprocess.run([program], capture_output=True, text=True, check=True, timeout=100)
    wrong, _, all_of_them, _ = done.stdout.split()
    assert int(wrong) == 0
    assert int(all_of_them) > 15_000
