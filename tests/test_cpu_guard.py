"""Which oneDNN convolution ran: `gemm:jit` or another compiled one, never the reference code that is 7 times slower.

oneDNN says so itself when ONEDNN_VERBOSE is set, which is evidence that does not depend on the machine's load:
onednn_verbose,v1,primitive,exec,cpu,convolution,x64:gemm:jit,forward_training,...
"""

import os
import subprocess
import sys

import pytest
from commands import ROOT, TINY

pytestmark = pytest.mark.slow
GUARD = "ONEDNN_MAX_CPU_ISA"


def run_python(*command: object, **environment: str) -> str:
    """Run Python with `command`, without the variable; return what it prints."""
    inherited = {name: value for name, value in os.environ.items() if name != GUARD}
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def convolutions(output: str) -> dict[str, set[str]]:
    """The implementations that ran, by direction (forward_training, backward_data, ...)."""
    found = {}
    for line in output.splitlines():
        if line.startswith("onednn_verbose,") and ",exec,cpu,convolution," in line:
            implementation, direction = line.split(",")[6:8]
            found.setdefault(direction, set()).add(implementation)
    return found


def is_compiled(implementation: str) -> bool:
    return "jit" in implementation and "ref" not in implementation


@pytest.fixture
def run_command(forked, tmp_path, monkeypatch):
    """(command, *flags) -> what oneDNN and the command print."""
    monkeypatch.setenv("ONEDNN_VERBOSE", "1")

    def run(command: str, *flags: object) -> str:
        done = forked.run(command, [*flags, "--save_ckpt_path", tmp_path], ROOT)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_training_takes_the_fast_path(run_command):
    output = run_command("train", *TINY, "--per_batch_size", 1000, "--cpu_kernels", "off")
    found = convolutions(output)
    assert "cpu,isa:Intel AVX2" in output
    assert len(found) == 3  # forward, and backward for data and for weights
    assert all(is_compiled(name) for names in found.values() for name in names), found


def test_evaluation_takes_the_fast_path(trained_run, run_command):
    output = run_command("eval", "--ckpt_files", trained_run / "best.ckpt", "--cpu_kernels", "off")
    (names,) = convolutions(output).values()
    assert all(is_compiled(name) for name in names), names


def test_the_kernels_leave_it_no_convolution(run_command):
    output = run_command("train", *TINY, "--per_batch_size", 1000, "--eval_data_dir", "bundled")
    assert "onednn_verbose,v1,primitive,exec,cpu,matmul," in output  # the classifier
    assert convolutions(output) == {}


BEFORE_MINDSPORE = """
import os, sys

class Finder:
    def find_spec(self, name, *_):
        if name == "mindspore":
            print("guard", os.environ["{guard}"], flush=True)
            os._exit(0)

sys.meta_path.insert(0, Finder())
import {module}
"""


@pytest.mark.parametrize("module", ["train", "eval", "src.network.densenet", "src.utils.checkpoint"])
def test_any_module_sets_it_before_mindspore_loads(module):
    assert run_python("-c", BEFORE_MINDSPORE.format(guard=GUARD, module=module)) == "guard AVX2\n"


def test_the_users_own_value_wins():
    program = BEFORE_MINDSPORE.format(guard=GUARD, module="train")
    assert run_python("-c", program, **{GUARD: "SSE41"}) == "guard SSE41\n"
