"""OpenVINO's inference with this project's ONNX export.

OpenVINO needs NumPy 2, MindSpore NumPy 1: OPENVINO_PYTHON names the interpreter of an environment of its own, in which
`pip install openvino` was run. Its process is the last one below.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scripts.benchmarks.tasks import Job

VARIABLE = "OPENVINO_PYTHON"
OTHERS: list[int] = []  # the process whose memory counts too


def build(job: "Job") -> Callable[[], float]:
    """A step that predicts one batch and returns a number of its result. Raises ReportedError without OpenVINO."""
    from scripts.benchmarks.exported import exported
    from src.launch.processes import die_with_parent
    from src.utils.errors import ReportedError

    python = os.environ.get(VARIABLE)
    if not python:
        raise ReportedError(f"{VARIABLE} is not set; set it to the Python of an environment that has OpenVINO")
    task = job.task
    words = [exported(job, ".onnx"), task.batch, task.image_size, job.variant.precision, job.threads]
    parent = os.getpid()
    process = subprocess.Popen(  # noqa: S603, the user's own
        [python, __file__, *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: die_with_parent(parent),
    )

    OTHERS.append(process.pid)

    def step() -> float:
        try:
            process.stdin.write("\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass
        answer = process.stdout.readline()
        if not answer:
            raise ReportedError(f"OpenVINO's process ended with status {process.wait()}; the log says why")
        return float(answer)

    step()  # raises where something is missing
    return step


def main(model: str, batch: str, image_size: str, precision: str, threads: str) -> None:
    """Answer each line of stdin with a number of a batch's result."""
    import numpy as np
    import openvino as ov

    core = ov.Core()
    network = core.read_model(Path(model))
    network.reshape([int(batch), 3, int(image_size), int(image_size)])
    floats = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}[precision]
    hints = {"INFERENCE_PRECISION_HINT": floats, "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(network, "CPU", {**hints, "INFERENCE_NUM_THREADS": int(threads)})
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        sys.exit("this CPU has no bfloat16 for OpenVINO")
    random = np.random.default_rng(0)  # as data.py's
    images = random.standard_normal((int(batch), 3, int(image_size), int(image_size)), np.float32)
    request = compiled.create_infer_request()
    for _ in sys.stdin:
        print(float(request.infer([images])[0][0, 0]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
