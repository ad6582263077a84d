"""The task's network as a model file, for variants that run exports."""

import subprocess
import sys
from pathlib import Path

from scripts.benchmarks.tasks import Job
from src.utils.errors import ReportedError


def exported(job: Job, suffix: str) -> Path:
    """Its path, .onnx or .engine; when it is not there another process writes it: MindSpore's memory is not this one's.

    Raises ReportedError when it cannot be.
    """
    task = job.task
    path = job.data / f"{task.net}{suffix}"
    if not path.exists():
        command = [sys.executable, "-m", "scripts.benchmarks.ours", task.name, "quick" if task.quick else "full", path]
        if subprocess.run(command, check=False).returncode:  # noqa: S603
            raise ReportedError(f"{task.net} could not be exported to {suffix}; the log says why")
    return path
