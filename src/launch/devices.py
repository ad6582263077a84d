"""The accelerators of this host that a job asks for."""

from pathlib import Path

from src.utils.errors import ReportedError, UsageError

_FILES = {"Ascend": "davinci", "GPU": "nvidia"}  # the drivers' device files, with a number behind


def check_devices(target: str, number: int, dev: Path = Path("/dev")) -> None:
    """Raise ReportedError unless this host has `number` devices of the kind `target` (a process needs no device on
    CPU). `dev` is the folder of device files.
    """
    if target not in _FILES:
        return
    found = len(list(dev.glob(f"{_FILES[target]}[0-9]*")))
    if found < number:
        raise ReportedError(
            f"DEVICE_NUM is {number}, but this host has {found} {target} devices ({dev}/{_FILES[target]}*); "
            "ask for fewer, or install the driver; python -m src.doctor says what is missing"
        )


def check_visible_devices(text: str, number: int) -> None:
    """`text`, for CUDA_VISIBLE_DEVICES, must name `number` different devices. Raises UsageError."""
    names = text.split(",")
    if not all(name and name == name.strip() for name in names) or len(set(names)) != len(names):
        raise UsageError(f"VISIBLE_DEVICES is {text!r}, expected different devices with commas between, such as 0,1")
    if len(names) != number:
        raise UsageError(f"VISIBLE_DEVICES names {len(names)} devices ({text}), but DEVICE_NUM is {number}")
