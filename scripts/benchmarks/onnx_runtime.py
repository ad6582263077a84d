"""ONNX Runtime's inference with this project's export."""

from collections.abc import Callable

import onnxruntime

from scripts.benchmarks.data import batch_of
from scripts.benchmarks.exported import exported
from scripts.benchmarks.tasks import Job


def build(job: Job) -> Callable[[], float]:
    """A step that predicts one batch and returns a number of its result. Raises ReportedError without a model."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads
    session = onnxruntime.InferenceSession(exported(job, ".onnx"), options, providers=["CPUExecutionProvider"])
    images, _ = batch_of(job.task)
    return lambda: session.run(["logits"], {"images": images})[0][0, 0]
