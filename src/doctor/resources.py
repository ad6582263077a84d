"""Rows about what this process may use: cores, memory, disk, and the environment that it was started in."""

import time
from pathlib import Path

from src.doctor.machine import Machine
from src.doctor.row import Row, ok, problem, warning
from src.utils.memory import available_memory, control_group

_GB = 10**9
_LEAST_MEMORY, _ENOUGH_MEMORY = 1 * _GB, 3 * _GB  # DenseNet-121 at batch 32: 2 GB
_LEAST_DISK, _ENOUGH_DISK = _GB // 2, 5 * _GB
_ENOUGH_SHM = _GB // 2  # containers have 64 MB unless told otherwise
_ENOUGH_FILES = 1024
_EARLIEST = time.mktime((2025, 1, 1, 0, 0, 0, 0, 0, 0))
# What an earlier job, or another program, may have left: each changes what a command does.
_STALE = ("MS_ROLE", "RANK_ID", "RANK_SIZE", "MS_NODE_ID", "RANK_TABLE_FILE", "MS_SIMULATION_LEVEL")


def cores_row(machine: Machine) -> Row:
    """Cores of this process, and how many of them its control group pays for."""
    limit = core_limit(machine)
    threads = machine.environ.get("OMP_NUM_THREADS", "")
    text = f"{machine.cores} cores" + (f", of which the control group allows {limit:g} at a time" if limit else "")
    if limit and limit < 1:
        return warning("cores", text, "training takes that much longer: raise the limit (docker --cpus, or the job's)")
    if limit and limit < machine.cores:
        return warning(
            "cores",
            text,
            f"threads wait for each other: bind the process to {int(limit)} cores (taskset, docker --cpuset-cpus)",
        )
    if threads.isdecimal() and int(threads) < machine.cores:
        return warning(
            "cores", f"{text}, but OMP_NUM_THREADS is {threads}", "unset it, unless other work needs the cores"
        )
    return ok("cores", text)


def core_limit(machine: Machine) -> float | None:
    """The cores that the control group allows, None without a limit; version 2 is asked first, then version 1."""
    words = (
        machine.read(f"/sys/fs/cgroup{control_group(machine.read)}/cpu.max").split()
        or machine.read("/sys/fs/cgroup/cpu.max").split()
    )
    if len(words) != 2:
        words = [machine.read(f"/sys/fs/cgroup/cpu/cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    quota, period = words
    if not (quota.isdecimal() and period.isdecimal() and int(period)):
        return None  # "max", -1, or no control groups
    return int(quota) / int(period)


def memory_row(machine: Machine) -> Row:
    """Memory that is available, of the machine and of the control group."""
    room, limit = available_memory(machine.read)
    if room is None:
        return warning("memory", "/proc/meminfo says nothing", "look at it yourself: DenseNet-121 trains in 2 GB")
    text = f"{room / _GB:.1f} GB available" + (f", of {limit / _GB:.1f} GB of the control group" if limit else "")
    if room < _LEAST_MEMORY:
        return problem("memory", text, "MindSpore's compilation alone takes 1 GB: free some, or raise the limit")
    if room < _ENOUGH_MEMORY:
        return warning(
            "memory", text, "DenseNet-121 takes 2 GB at batch 32: a smaller --per_batch_size, or densenet100"
        )
    return ok("memory", text)


def disk_rows(machine: Machine) -> list[Row]:
    """Room and rights where runs, kernels and temporary files go."""
    rows = [_place(machine, "disk", machine.folder, "checkpoints and logs go here: free it, or give --save_ckpt_path")]
    rows.append(_place(machine, "temporary disk", machine.temporary, "exports are made here: free it, or set TMPDIR"))
    if why := machine.why_no_cache():
        rows.append(
            warning(
                "cache", why, "kernels and graphs are compiled anew each time: set XDG_CACHE_HOME to a folder of yours"
            )
        )
    else:
        rows.append(ok("cache", "kernels and compiled graphs are kept"))
    return rows


def _place(machine: Machine, name: str, folder: Path, advice: str) -> Row:
    if why := machine.why_not_writable(folder):
        return problem(name, f"nothing can be written in {folder}: {why}", advice)
    free = machine.free(folder)
    if free is None:
        return warning(name, f"{folder}: nobody can say how much is free", advice)
    text = f"{free / _GB:.1f} GB free in {folder}"
    if free < _LEAST_DISK:
        return problem(name, text, advice)
    return warning(name, text, advice) if free < _ENOUGH_DISK else ok(name, text)


def shm_row(machine: Machine) -> Row:
    """The host's shared memory, through which HCCL, NCCL and processes of one host pass data."""
    if not machine.files("/dev", "shm"):
        return warning(
            "shared memory", "there is no shm in /dev", "several devices of one host need it: mount a tmpfs there"
        )
    free = machine.free(machine.root / "dev/shm")
    text = "unknown" if free is None else f"{free / 1e6:.0f} MB free"
    if free is None or free < _ENOUGH_SHM:
        return warning("shared memory", text, "several devices of one host may need more: docker --shm-size=2g")
    return ok("shared memory", text)


def locale_row(machine: Machine) -> Row:
    """Whether names of classes and files that are not ASCII can be read and shown."""
    name = next(filter(None, (machine.environ.get(key) for key in ("LC_ALL", "LC_CTYPE", "LANG"))), "")
    text = f"{name or 'not set'}; files {machine.file_encoding}, output {machine.output_encoding or 'nowhere'}"
    utf8 = "utf8"
    if machine.file_encoding.lower().replace("-", "") != utf8:
        return problem("locale", text, "names that are not ASCII cannot be read: export LC_ALL=C.UTF-8")
    if name in ("", "C", "POSIX") or machine.output_encoding.lower().replace("-", "") not in ("", utf8):
        return warning("locale", text, "names that are not ASCII may be shown as \\u....: export LC_ALL=C.UTF-8")
    return ok("locale", text)


def limits_row(machine: Machine) -> Row:
    """How many files a process may have open."""
    if 0 <= machine.open_files < _ENOUGH_FILES:
        return warning("open files", f"at most {machine.open_files}", f"ulimit -n {_ENOUGH_FILES}")
    return ok("open files", "no limit" if machine.open_files < 0 else f"at most {machine.open_files}")


def clock_row(machine: Machine) -> Row:
    """Run folders are named by the time, and the newest is looked for by it."""
    text = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(machine.now))
    if machine.now < _EARLIEST:
        return warning("clock", text, "run folders are named by the time: set the clock")
    return ok("clock", text)


def environment_row(machine: Machine) -> Row:
    """Variables that change what the commands do."""
    stale = [name for name in _STALE if machine.environ.get(name)]
    if stale:
        return warning(
            "environment",
            f"{', '.join(f'{name}={machine.environ[name]}' for name in stale)}: commands take themselves for ranks",
            f"unless this is one: unset {' '.join(stale)}",
        )
    isa = machine.environ.get("ONEDNN_MAX_CPU_ISA")
    if isa and isa.upper() != "AVX2":
        return warning(
            "environment",
            f"ONEDNN_MAX_CPU_ISA={isa}",
            "MindSpore's own convolutions are seven times faster with AVX2: unset it",
        )
    return ok("environment", "nothing that changes what the commands do")
