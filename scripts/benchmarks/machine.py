"""The machine that measures: what it says of itself, and the measured limits of its cores and memory."""

import os
import platform
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from src.ops.build import INSTRUCTION_SETS, SOURCES, find_compiler, instruction_sets
from src.utils.errors import ReportedError
from src.utils.processor import processor_name

_SOURCE = Path(__file__).with_name("peak.cc")
_LIBRARIES = ("mindspore", "torch", "torchvision", "onnxruntime", "numpy")


@dataclass(frozen=True)
class Machine:
    """gflops: the measured peak of `cores` cores, by precision and then by instruction set; bandwidth: of the memory in
    GB/s, None when it was not measured; problem: why something was not.
    """

    cpu: str
    cores: int
    memory_gb: float
    caches: str
    gflops: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    bandwidth: float | None = None
    problem: str = ""

    def peak(self, precision: str) -> float | None:
        """The most GFLOP/s in this precision; without bf16 of its own that of fp32; None for int8."""
        if precision == "int8":
            return None
        found = self.gflops.get(precision) or self.gflops.get("fp32") or {}
        return max(found.values(), default=None)

    def lines(self) -> list[str]:
        """For the report, a fact a line."""
        peaks = [
            f"{value:.0f} GFLOP/s {precision} with {name}"
            for precision, by_name in self.gflops.items()
            for name, value in by_name.items()
        ]
        return [
            f"CPU: {self.cpu}, {self.cores} cores used, caches {self.caches or 'unknown'}",
            f"Memory: {self.memory_gb:.0f} GB" + (f", {self.bandwidth:.0f} GB/s (triad)" if self.bandwidth else ""),
            "Measured peak: " + (", ".join(peaks) or "none") + (f"; {self.problem}" if self.problem else ""),
            f"{platform.system()} {platform.release()}, Python {platform.python_version()}, " + ", ".join(_versions()),
        ]


def measure_machine(threads: int, seconds: float) -> Machine:
    """Describe this machine, and measure it with `threads` threads, each limit for 10 x `seconds`."""
    gflops: dict[str, dict[str, float]] = {}
    bandwidth, problem = None, ""
    try:
        for name, found in _limits(threads, seconds):
            bandwidth = max(bandwidth or 0.0, found.pop("triad"))
            for precision, value in found.items():
                gflops.setdefault(precision, {})[name] = value
    except ReportedError as error:
        problem = f"not measured: {error}"
    return Machine(
        processor_name(),
        threads,
        os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9,
        _caches(),
        gflops,
        bandwidth,
        problem,
    )


def _limits(threads: int, seconds: float):
    """Yield (instruction set, what peak.cc prints) for those that this CPU has. Raises ReportedError."""
    compiler = find_compiler()
    with tempfile.TemporaryDirectory() as folder:
        for name in instruction_sets():
            program = Path(folder) / name
            flags = ["-std=c++17", "-O3", "-pthread", *INSTRUCTION_SETS[name].flags, "-I", str(SOURCES)]
            _run([*compiler, *flags, str(_SOURCE), "-o", str(program)])
            printed = _run([str(program), str(threads), str(seconds)])
            yield name, {word: float(number) for word, number in map(str.split, printed.splitlines())}


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603
    except OSError as error:
        raise ReportedError(f"{command[0]} cannot be run: {error.strerror}") from error
    if done.returncode:
        raise ReportedError(f"{command[0]} ended with status {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stdout


def _caches() -> str:
    """`L1d 32K, L2 1024K, L3 32768K`, each as one core sees it; empty where Linux does not know."""
    core = min(os.sched_getaffinity(0))
    found = []
    for index in sorted(Path(f"/sys/devices/system/cpu/cpu{core}/cache").glob("index*")):
        level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        if kind != "Instruction":
            found.append(f"L{level}{'d' if kind == 'Data' else ''} {size}")
    return ", ".join(found)


def _versions() -> list[str]:
    found = []
    for library in _LIBRARIES:
        try:
            found.append(f"{library} {metadata.version(library)}")
        except metadata.PackageNotFoundError:
            found.append(f"no {library}")
    return found
