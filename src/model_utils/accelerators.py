"""What MindSpore 2.10 asks of an accelerator's software, and what this host says it has. Imports no MindSpore."""

import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# The CANN that MindSpore 2.10 accepts (`AscendEnvChecker` in its run_check/_check_version.py; a test compares them),
# each with the oldest driver (Ascend HDK) that goes with it: for 8.5 to 9.1 "CANN and Ascend HDK Version Compatibility"
# in CANN's release notes 8.5.0 and 9.1.0, for 8.2 and 8.3 the notes of MindIE 2.1.RC1 and MindSDK 7.2.RC1.
CANN_DRIVERS = {"8.2": (24, 1), "8.3": (24, 1), "8.5": (25, 0), "9.0": (25, 0), "9.1": (25, 2)}
CANN_VERSIONS = tuple(CANN_DRIVERS)
# Its installation page (docs r2.10.0, install/mindspore_ascend_install_source.md) names fewer.
CANN_DOCUMENTED = ("8.5", "9.0", "9.1")
# The plugins in MindSpore 2.10's package: lib/plugin/libmindspore_gpu.so.11.1 and .11.6.
CUDA_VERSIONS = ("11.1", "11.6")
# Compute capabilities. lib/plugin/gpu/libcuda_ops.so.11 holds code for 6.0, 6.1, 7.0, 7.5 and 8.0, which 8.6 to 8.9 run
# too, and PTX of 6.0 and 8.6, which a driver may translate for newer ones; CUDA 11.8 is the first that knows 9.0.
OLDEST_GPU, FIRST_UNKNOWN_GPU = (6, 0), (9, 0)
# Of CUDA 11 as a whole (NVIDIA's "Minor Version Compatibility": 450.80.02), and what MindSpore's installation pages for
# GPUs ask for with each CUDA (11.6: 510.39.01).
OLDEST_CUDA_DRIVER = (450, 80)
DOCUMENTED_CUDA_DRIVERS = {"11.1": (450, 80), "11.6": (510, 39)}
_QUERY = ("nvidia-smi", "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader")


@dataclass(frozen=True)
class Gpu:
    """One of NVIDIA's, as its driver describes it; capability: the compute capability, such as (8, 6)."""

    name: str
    capability: tuple[int, ...]
    driver: str


def numbers_of(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: (25, 0) for `25.0.rc1`, () for what begins with none."""
    found = re.match(r"\s*(\d+(?:\.\d+)*)", version)
    return tuple(map(int, found[1].split("."))) if found else ()


def gpus(run: Callable[[Sequence[str]], str]) -> list[Gpu]:
    """The GPUs of this host; `run` calls a program and returns what it prints, nothing when it fails."""
    found = []
    for line in run(_QUERY).splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) == 3 and (capability := numbers_of(fields[1])):
            found.append(Gpu(fields[0], capability, fields[2]))
    return found


def unfit(gpu: Gpu) -> str:
    """Why MindSpore 2.10 has no code for `gpu`, a sentence's part; empty when it has."""
    shown = f"{gpu.name} has compute capability {'.'.join(map(str, gpu.capability))}"
    if gpu.capability < OLDEST_GPU:
        return f"{shown}, but MindSpore 2.10's kernels begin with {'.'.join(map(str, OLDEST_GPU))}"
    if gpu.capability >= FIRST_UNKNOWN_GPU:
        return f"{shown}, which CUDA {CUDA_VERSIONS[-1]}, the newest that MindSpore 2.10 works with, does not know"
    return ""


def ask(command: Sequence[str], seconds: float = 20) -> str:
    """What `command` prints; nothing when it is not there, fails or takes too long."""
    try:
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, errors="replace", timeout=seconds, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
