"""The task's network as a model file, for variants that run exports."""

import subprocess
import sys
from pathlib import Path

from scripts.benchmarks.tasks import Job
from src.utils.errors import ReportedError

INT8 = "-int8"  # what such a file's name ends with, before its suffix


def exported(job: Job, suffix: str) -> Path:
    """Its path, .onnx or .engine, in INT8 for a variant of that precision.

    When it is not there another process writes it: MindSpore's memory is not this one's.

    Raises ReportedError when it cannot be.
    """
    task = job.task
    path = job.data / f"{task.net}{INT8 if job.variant.precision == 'int8' else ''}{suffix}"
    if not path.exists():
        words = [task.name, "quick" if task.quick else "full", path]
        command = [sys.executable, "-m", "scripts.benchmarks.ours_export", *words]
        if subprocess.run(command, check=False).returncode:  # noqa: S603
            raise ReportedError(f"{task.net} could not be exported to {suffix}; the log says why")
    return path
