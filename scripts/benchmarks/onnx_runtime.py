"""ONNX Runtime's inference with this project's export, which another process makes: MindSpore's memory is not its."""

import subprocess
import sys
from collections.abc import Callable

import onnxruntime

from scripts.benchmarks.data import batch_of
from scripts.benchmarks.tasks import Job
from src.utils.errors import ReportedError


def build(job: Job) -> Callable[[], float]:
    """A step that predicts one batch and returns a number of its result. Raises ReportedError without a model."""
    task = job.task
    path = job.data / f"{task.net}.onnx"
    if not path.exists():
        command = [sys.executable, "-m", "scripts.benchmarks.ours", task.name, "quick" if task.quick else "full", path]
        if subprocess.run(command, check=False).returncode:  # noqa: S603
            raise ReportedError(f"{task.net} could not be exported to ONNX; the log says why")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    images, _ = batch_of(task)
    return lambda: session.run(["logits"], {"images": images})[0][0, 0]
