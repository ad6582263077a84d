"""This project's network as a file, for variants that run exports.

python -m scripts.benchmarks.ours_export TASK quick|full MODEL

MODEL: .onnx or .engine, in INT8 where its name ends with -int8.
"""

import sys
from dataclasses import replace
from pathlib import Path

from scripts.benchmarks.data import batch_of
from scripts.benchmarks.exported import INT8
from scripts.benchmarks.tasks import Task, task_named
from src.datasets.preprocessing import default_preprocessing
from src.deploy.export import SUFFIXES, workshop, write_engine, write_onnx
from src.deploy.manifest import Manifest
from src.deploy.quantize import write_int8, write_int8_engine
from src.model_utils.device_adapter import set_up_device
from src.network.densenet import DenseNet
from src.training.evaluation import PredictStep

_CALIBRATION = 8  # images that an INT8 export is measured on


def export(task: Task, path: Path) -> None:
    """Write the network as ONNX or for the CPU engine, which take any number of images."""
    set_up_device("CPU", 0, deterministic=False)
    names = tuple(map(str, range(task.classes)))
    preprocessing = default_preprocessing("cifar10" if task.image_size == 32 else "imagenet", task.image_size)
    precision = "int8" if path.stem.endswith(INT8) else "float32"
    form = {suffix: name for name, suffix in SUFFIXES.items()}[path.suffix]
    manifest = Manifest(form, precision, 0, "imagenet", task.arch, preprocessing, names)
    step = PredictStep(DenseNet(task.arch))
    with workshop() as folder:
        made, exact = folder / path.name, folder / "exact.onnx"
        calibration = [(batch_of(task)[0][:_CALIBRATION],)]
        if manifest.precision == "float32":
            {"ONNX": write_onnx, "ENGINE": write_engine}[form](step, manifest, made)
        elif form == "ENGINE":
            write_int8_engine(step, manifest, made, calibration, 1)
        else:
            write_onnx(step, replace(manifest, precision="float32"), exact)
            write_int8(exact, manifest, made, calibration)
        path.write_bytes(made.read_bytes())


if __name__ == "__main__":
    export(task_named(sys.argv[1], sys.argv[2] == "quick"), Path(sys.argv[3]))
