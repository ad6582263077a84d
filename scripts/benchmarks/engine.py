"""This project's CPU engine with its own export, in a process that has no MindSpore."""

from collections.abc import Callable

from scripts.benchmarks.data import batch_of
from scripts.benchmarks.exported import exported
from scripts.benchmarks.tasks import Job
from src.deploy.engine_model import EngineModel


def build(job: Job) -> Callable[[], float]:
    """A step that predicts one batch and returns a number of its result. Raises ReportedError where it cannot."""
    precision = job.variant.precision
    model = EngineModel(exported(job, ".engine"), precision="fp32" if precision == "int8" else precision)
    images, _ = batch_of(job.task)
    return lambda: float(model(images)[0, 0])
