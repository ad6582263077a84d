"""What this machine's processor is called."""

import platform
from pathlib import Path


def processor_name() -> str:
    """The model's name as Linux knows it, else the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
