"""Rows about accelerators: their device files, drivers, and the software that MindSpore needs for them."""

import json
import os
import re
from collections.abc import Mapping

from src.doctor.machine import Machine
from src.doctor.row import Row, ok, problem, warning
from src.model_utils.accelerators import (
    CANN_DOCUMENTED,
    CANN_DRIVERS,
    CANN_VERSIONS,
    CUDA_VERSIONS,
    DOCUMENTED_CUDA_DRIVERS,
    OLDEST_CUDA_DRIVER,
    gpus,
    numbers_of,
    unfit,
)

_ASCEND = "/usr/local/Ascend"
_LOAD = "import mindspore; mindspore.set_context(device_target={!r})"


def accelerator_rows(machine: Machine, devices: Mapping[str, int]) -> list[Row]:
    """The rows of Ascend and GPU. devices: how many of each kind MindSpore finds."""
    rows = [*_ascend(machine, devices.get("Ascend", 0)), *_gpu(machine, devices.get("GPU", 0))]
    usable = [f"{count} {kind}" for kind, count in devices.items() if count]
    first = next((kind for kind in ("Ascend", "GPU", "CPU") if devices.get(kind)), None)
    if first is None:
        return [problem("devices", "MindSpore finds none", "see the row MindSpore"), *rows]
    return [ok("devices", f"MindSpore finds {', '.join(usable)}; device_target auto is {first}"), *rows]


def has_gpu(machine: Machine) -> bool:
    """Whether there are device files of NVIDIA's driver."""
    return bool(machine.files("/dev", "nvidia[0-9]*"))


def _ascend(machine: Machine, found: int) -> list[Row]:
    files = machine.files("/dev", "davinci[0-9]*")
    driver = _version(machine.read(f"{_ASCEND}/driver/version.info"))
    if not files and not driver:
        return [ok("Ascend", "no device and no driver: nothing to look at")]
    places, cann = _cann_version(machine)
    rows = [_ascend_driver(machine, len(files), driver, cann), _cann(machine, places, cann)]
    closed = [path.name for path in files if not os.access(path, os.R_OK | os.W_OK)]
    if closed:
        rows.append(
            problem(
                "Ascend rights",
                f"this user may not use {', '.join(closed)}",
                "join the group of the driver, usermod -aG HwHiAiUser USER, and log in anew",
            )
        )
    lacking = [name for name in ("davinci_manager", "devmm_svm", "hisi_hdc") if not machine.files("/dev", name)]
    if files and lacking:
        rows.append(
            problem(
                "Ascend device files",
                f"/dev has davinci devices, but not {', '.join(lacking)}",
                "give the container all of the driver's devices (--device), or use the Ascend container runtime",
            )
        )
    if files and not found:
        rows.append(_not_found(machine, "Ascend", len(files), "source CANN's set_env.sh before the command"))
    return rows


def _ascend_driver(machine: Machine, devices: int, driver: str, cann: str) -> Row:
    firmware = _version(machine.read(f"{_ASCEND}/firmware/version.info"))
    text = f"{devices} devices, driver {driver or 'unknown'}, firmware {firmware or 'unknown'}"
    if not driver:
        return problem(
            "Ascend driver",
            f"{text}: {_ASCEND}/driver/version.info names no version",
            "install the driver, or mount its folder into the container",
        )
    if not devices:
        return problem(
            "Ascend driver", f"{text}: /dev has no davinci device", "load the driver, or give the container its devices"
        )
    oldest = CANN_DRIVERS.get(_two(cann), min(CANN_DRIVERS.values()))
    if not numbers_of(driver) or numbers_of(driver) < oldest:
        of_whom = f"CANN {_two(cann)}" if _two(cann) in CANN_DRIVERS else f"CANN {', '.join(CANN_VERSIONS)}"
        return problem(
            "Ascend driver",
            f"{text}: older than {'.'.join(map(str, oldest))}, or no version that is known",
            f"{of_whom} needs a newer one: install the driver and firmware that your CANN's release notes name",
        )
    return ok("Ascend driver", text)


def _cann_version(machine: Machine) -> tuple[list[str], str]:
    """Where CANN is looked for, and its version there, empty when there is none."""
    home = machine.environ.get("ASCEND_HOME_PATH")
    places = [home] if home else [f"{_ASCEND}/ascend-toolkit/latest", f"{_ASCEND}/cann"]
    versions = (_version(machine.read(f"{place}/compiler/version.info")) for place in places)
    return places, next(filter(None, versions), "")


def _cann(machine: Machine, places: list[str], version: str) -> Row:
    accepted = f"MindSpore 2.10 accepts {', '.join(CANN_VERSIONS)}"
    if not version:
        return problem(
            "CANN", f"no compiler/version.info in {' or '.join(places)}", f"install the CANN toolkit; {accepted}"
        )
    if _two(version) not in CANN_VERSIONS:
        return problem("CANN", f"{version} in {places[0]}", f"install another: {accepted}")
    unset = [name for name in ("ASCEND_HOME_PATH", "ASCEND_OPP_PATH") if not machine.environ.get(name)]
    unset += [name for name in ("LD_LIBRARY_PATH", "PYTHONPATH") if "scend" not in machine.environ.get(name, "")]
    if unset:
        return problem(
            "CANN", f"{version}, but its environment is not loaded: {', '.join(unset)}", "source its set_env.sh"
        )
    pages = f"; MindSpore 2.10's installation page names {', '.join(CANN_DOCUMENTED)}"
    return ok("CANN", f"{version} in {places[0]}{'' if _two(version) in CANN_DOCUMENTED else pages}")


def _gpu(machine: Machine, found: int) -> list[Row]:
    if not has_gpu(machine):
        return [ok("GPU", "no device: nothing to look at")]
    described = gpus(lambda command: done.said if not (done := machine.run(command, 20)).status else "")
    if not described:
        return [
            problem(
                "GPU", "there are device files, but nvidia-smi does not answer", "install NVIDIA's driver, or reboot"
            )
        ]
    rows, cuda = [], _cuda_version(machine)
    wanted = DOCUMENTED_CUDA_DRIVERS.get(_two(cuda), OLDEST_CUDA_DRIVER)
    for gpu in dict.fromkeys(described):
        text = f"{described.count(gpu)} {gpu.name}, driver {gpu.driver}"
        if why := unfit(gpu):
            rows.append(problem("GPU", f"{text}: {why}", "use another GPU, or --device_target CPU"))
        elif numbers_of(gpu.driver)[:2] < OLDEST_CUDA_DRIVER:
            oldest = ".".join(map(str, OLDEST_CUDA_DRIVER))
            rows.append(problem("GPU", f"{text}: too old for CUDA 11", f"install a driver from {oldest} on"))
        elif numbers_of(gpu.driver)[:2] < wanted:
            asked = f"{'.'.join(map(str, wanted))} for CUDA {_two(cuda)}"
            rows.append(warning("GPU", f"{text}: MindSpore's documents ask for {asked}", "install a newer driver"))
        else:
            rows.append(ok("GPU", text))
    rows.append(_cuda(cuda))
    if not found:
        rows.append(
            _not_found(machine, "GPU", len(described), "install that CUDA with its cuDNN, and set LD_LIBRARY_PATH")
        )
    return rows


def _cuda_version(machine: Machine) -> str:
    text = machine.read("/usr/local/cuda/version.json")
    try:
        return str(json.loads(text)["cuda"]["version"])
    except (ValueError, KeyError, TypeError):
        said = machine.run(["nvcc", "--version"], 20).said
        found = re.search(r"release ([\d.]+)", said)
        return found[1] if found else ""


def _cuda(version: str) -> Row:
    accepted = f"MindSpore 2.10 has plugins for CUDA {' and '.join(CUDA_VERSIONS)}"
    if not version:
        return problem("CUDA", "neither /usr/local/cuda/version.json nor nvcc names one", f"install one: {accepted}")
    if _two(version) not in CUDA_VERSIONS:
        return problem("CUDA", version, f"install another beside it: {accepted}")
    return ok("CUDA", version)


def _not_found(machine: Machine, kind: str, count: int, advice: str) -> Row:
    """MindSpore does not see what is there; asked for it, it says which library it could not load."""
    said = machine.run([machine.executable, "-c", _LOAD.format(kind)], 120).said
    reason = re.search(r"Load dynamic library: \S+ failed\. ([^\n]{1,160})", said)
    why = f": {reason[1].strip()}" if reason else ""
    return problem(f"{kind} in MindSpore", f"this host has {count}, but MindSpore finds none{why}", advice)


def _two(version: str) -> str:
    """The first two numbers of a version, as lists of accepted versions have them."""
    return ".".join(map(str, numbers_of(version)[:2]))


def _version(text: str) -> str:
    found = re.search(r"^Version=(\S+)", text, re.MULTILINE)
    return found[1] if found else ""
