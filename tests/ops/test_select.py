"""When the C++ kernels are used, what is said about it, and how many threads they take."""

import ctypes
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from direct import Final

from src.ops.build import ISA_VARIABLE, kernels
from src.ops.select import PLAIN, Selection, arithmetic_of, changed_arithmetic, select_kernels
from src.ops.times import seconds_by_part
from src.utils.errors import ReportedError, UsageError

NETWORK = {"device": "CPU"}
NOT_USED = "the C++ kernels are not used: "
# (what differs from a plain training in float32 on one CPU, why the kernels are not used then)
LACKING = [
    ({"device": "Ascend"}, "the device is Ascend"),
    ({"amp_level": "O2"}, "they do not compute in float16 (amp_level O2)"),
    ({"amp_level": "O3"}, "they do not compute in float16 (amp_level O3)"),
    ({"norm_ranks": 2}, "they do not normalise over 2 ranks (sync_batch_norm)"),
]


def logged(capsys) -> list[str]:
    """The messages so far, without date and level."""
    return [line.split(":INFO:")[1] for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("wanted", ["auto", "on"])
def test_used_and_said_in_one_line(wanted, capsys):
    selected = select_kernels(wanted, "fp32", **NETWORK)
    assert selected == Selection(str(kernels().library), "fp32")
    assert logged(capsys) == [f"{kernels().reason}; fp32, {kernels().library}"]


def test_off_is_the_plain_network_without_a_word(capsys):
    assert select_kernels("off", "fp32", **NETWORK) == PLAIN == Selection(None, "fp32")
    assert logged(capsys) == []


def test_other_ranks_than_the_first_say_nothing(capsys):
    assert select_kernels("auto", "fp32", **NETWORK, is_master=False).library
    assert select_kernels("auto", "fp32", **NETWORK, norm_ranks=2, is_master=False) == PLAIN
    assert logged(capsys) == []


@pytest.mark.parametrize(("differing", "reason"), LACKING)
def test_what_the_kernels_lack(differing, reason, capsys):
    network = NETWORK | differing
    assert select_kernels("auto", "fp32", **network) == PLAIN
    line = f"{NOT_USED}{reason}; the plain network is slower but gives the same results"
    assert logged(capsys) == ([line] if network["device"] == "CPU" else [])
    for wanted, precision in (("on", "fp32"), ("auto", "bf16"), ("on", "bf16")):
        with pytest.raises(ReportedError) as error:
            select_kernels(wanted, precision, **network)
        assert str(error.value) == (
            f"cpu_kernels is {wanted} and cpu_precision {precision}, but {NOT_USED}{reason}; "
            "--cpu_kernels auto --cpu_precision fp32 does without them"
        )
    assert logged(capsys) == []


def test_bf16_where_the_cpu_has_it(capsys):
    if kernels().has_bf16:
        assert select_kernels("auto", "bf16", **NETWORK) == Selection(str(kernels().library), "bf16")
        assert logged(capsys) == [f"{kernels().reason}; bf16, {kernels().library}"]
    else:
        with pytest.raises(ReportedError, match="which takes a CPU with AMX or AVX512_BF16, but the C"):
            select_kernels("auto", "bf16", **NETWORK)


@pytest.fixture
def asked_anew(monkeypatch):
    """The kernels are looked for again, as by a new process."""
    kernels.cache_clear()
    yield monkeypatch
    kernels.cache_clear()


def test_without_a_compiler(asked_anew, capsys):
    asked_anew.setenv("CXX", "no-such-compiler")
    assert select_kernels("auto", "fp32", **NETWORK) == PLAIN
    reason = f"{NOT_USED}CXX names 'no-such-compiler', which is no program; correct or unset it"
    slower = "the plain network is slower but gives the same results; python -m src.doctor says what is in the way"
    assert logged(capsys) == [f"{reason}; {slower}"]
    with pytest.raises(
        ReportedError, match=r"^cpu_kernels is on and cpu_precision fp32, but the C\+\+ kernels are not"
    ):
        select_kernels("on", "fp32", **NETWORK)


def test_an_instruction_set_that_does_not_exist_is_an_error_and_no_reason(asked_anew):
    asked_anew.setenv(ISA_VARIABLE, "sse2")
    with pytest.raises(UsageError, match="DENSENET_KERNELS_ISA is 'sse2', expected one of "):
        select_kernels("auto", "fp32", **NETWORK)


# Takes the cores first, as a rank does after it has joined its group, and calls the last operator of the network on
# ones, and again beside a copy of itself, which has none of its threads; prints its largest value and how many
# threads it has started.
ON_CORES = """
import ctypes, os, sys
import numpy as np
library = ctypes.CDLL(sys.argv[1])
shapes = [(8, 16, 16, 48), *[(32,)] * 4, (8, 32, 16, 16)]
arrays = [np.ones(shape, np.float32) for shape in shapes]
data = (ctypes.c_void_p * 6)(*[array.ctypes.data for array in arrays])
ranks = (ctypes.c_int * 6)(*map(len, shapes))
shapes = (ctypes.POINTER(ctypes.c_int64) * 6)(*[(ctypes.c_int64 * len(shape))(*shape) for shape in shapes])
before = set(os.listdir("/proc/self/task"))
os.sched_setaffinity(0, map(int, sys.argv[2:]))
assert library.final_infer(6, data, ranks, shapes, None, None, None) == 0
child = os.fork()
assert library.final_infer(6, data, ranks, shapes, None, None, None) == 0
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(arrays[-1].max(), len(set(os.listdir("/proc/self/task")) - before))
"""


@pytest.mark.parametrize("count", [1, 2])
def test_as_many_threads_as_cores(count):
    cores = sorted(os.sched_getaffinity(0))[:count]
    command = [sys.executable, "-c", ON_CORES, str(kernels().library), *map(str, cores)]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout.split() == ["1.0", str(len(cores) - 1)]


def test_operators_say_what_time_they_took():
    path = str(kernels().library)
    before = seconds_by_part(path)
    x, stats = np.ones((2, 3, 4, 5), np.float32), np.ones((2, 3), np.float32)
    start = time.perf_counter()
    Final(ctypes.CDLL(path), pool=True).infer([x, stats], list(stats), [stats])
    elapsed = time.perf_counter() - start
    taken = {part: seconds - before[part] for part, seconds in seconds_by_part(path).items()}
    assert 0 < taken.pop("final norm and pool") < elapsed
    assert set(taken.values()) == {0.0}


def test_a_run_that_goes_on_with_another_arithmetic_says_so(tmp_path):
    kernels = arithmetic_of(str(tmp_path / "avx512_bf16-0123456789abcdef" / "libdensenet_kernels.so"))
    assert (kernels, arithmetic_of(None)) == ("avx512_bf16", "plain")
    assert changed_arithmetic(kernels, "plain") == (
        "this run was trained with the C++ kernels for avx512_bf16 and goes on with the plain network, which is "
        "slower: its sums are rounded in another order from here on"
    )
    assert "with the plain network and goes on with the C++ kernels for avx2: " in changed_arithmetic("plain", "avx2")
    for before in (kernels, None, 7):  # unchanged; of an older checkpoint; of a damaged one
        assert changed_arithmetic(before, kernels) == ""
