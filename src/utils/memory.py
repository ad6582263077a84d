"""How much memory there is, and how much a process has used at most. Sizes are in bytes."""

import contextlib
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

_UNLIMITED = 2**60  # what cgroup v1 says instead of max is near 2**63

Read = Callable[[str], str]  # the text of a file, empty when it cannot be read


def read_text(path: str) -> str:
    """The file's text, empty when it cannot be read."""
    try:
        return Path(path).read_text("utf-8", errors="replace")
    except OSError:
        return ""


def available_memory(read: Read = read_text) -> tuple[int | None, int | None]:
    """What a new process may take, of the machine and of its control group, and that group's limit; None: nobody
    says, or there is no limit.
    """
    limit, used = _limit(read)
    rooms = [_kilobytes(read("/proc/meminfo"), "MemAvailable"), None if limit is None else max(limit - used, 0)]
    return min((known for known in rooms if known is not None), default=None), limit


def control_group(read: Read = read_text) -> str:
    """This process's control group of version 2, empty in a container."""
    for line in read("/proc/self/cgroup").splitlines():
        if line.startswith("0::"):
            return line[3:].rstrip("/")
    return ""


def held_memory() -> int:
    """Resident memory of this process; 0 when nobody says."""
    return _kilobytes(read_text("/proc/self/status"), "VmRSS") or 0


class Peak:
    """The most memory that was held at a time inside a `with`."""

    bytes = 0


@contextlib.contextmanager
def measured_peak(of_device: Callable[[], int] | None = None) -> Iterator[Peak]:
    """Measure the most resident memory that this process, all of it, holds inside the `with`.

    of_device: the most that a device held since its last call, instead of that. Where the kernel does not let a process
    forget its earlier peak, that one counts too.
    """
    peak = Peak()
    if of_device:
        of_device()
        yield peak
        peak.bytes = of_device()
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", "ascii")  # VmHWM counts from here, proc(5)
    yield peak
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    peak.bytes = _kilobytes(read_text("/proc/self/status"), "VmHWM") or own


def _limit(read: Read) -> tuple[int | None, int]:
    own = control_group(read)
    for limit, used in (
        (f"/sys/fs/cgroup{own}/memory.max", f"/sys/fs/cgroup{own}/memory.current"),
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        most, now = read(limit).strip(), read(used).strip()
        if most.isdecimal() and int(most) < _UNLIMITED:
            return int(most), int(now) if now.isdecimal() else 0
    return None, 0


def _kilobytes(text: str, name: str) -> int | None:
    for line in text.splitlines():
        words = line.split()
        if words[:1] == [f"{name}:"] and len(words) > 1 and words[1].isdecimal():
            return int(words[1]) * 1024
    return None
