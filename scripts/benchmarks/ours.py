"""This project's network as a benchmark's step, and MindSpore's as it comes.

python -m scripts.benchmarks.ours TASK quick|full MODEL

exports the task's network as .onnx or .engine, for others; in INT8 where the file's name ends with -int8.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mindspore as ms
from mindspore import Tensor

from scripts.benchmarks.data import batch_of
from scripts.benchmarks.exported import INT8
from scripts.benchmarks.tasks import TRAINING, Job, Task, task_named
from src.datasets.preprocessing import default_preprocessing
from src.deploy.export import SUFFIXES, workshop, write_engine, write_onnx
from src.deploy.manifest import Manifest
from src.deploy.quantize import write_int8, write_int8_engine
from src.losses.crossentropy import CrossEntropy
from src.model_utils.device_adapter import set_up_device
from src.network.densenet import DenseNet
from src.ops import times
from src.ops.build import kernels
from src.ops.select import select_kernels
from src.optimizers.sgd import SGD
from src.training.evaluation import PredictStep
from src.training.step import TrainStep

_CALIBRATION = 8  # images that an INT8 export is measured on


def build(job: Job) -> Callable[[], float]:
    """A step that trains or predicts one batch and returns a number of its result. MindSpore takes all cores.

    Raises ReportedError when the kernels that the variant asks for cannot be had.
    """
    set_up_device("CPU", 0, deterministic=False)
    arch, options = job.task.arch, dict(job.variant.options)
    selection = select_kernels(options["cpu_kernels"], options["cpu_precision"], device="CPU")
    net = DenseNet(arch, kernels=selection.library, kernel_precision=selection.precision)
    images, labels = batch_of(job.task)
    if job.task.kind != TRAINING:
        predict = PredictStep(net)
        return lambda: float(predict.logits(images)[0, 0])
    optimizer = SGD(
        net.trainable_params(),
        momentum=0.9,
        weight_decay=1e-4,
        decay_norm_and_bias=True,
        kernels=selection.library,
    )
    train = TrainStep(net, CrossEntropy(), optimizer)
    batch = Tensor(images), Tensor(labels), Tensor(0.01, ms.float32), Tensor(True)
    return lambda: float(train(*batch)[0].asnumpy())


def seconds_by_part() -> dict[str, float]:
    """Of the C++ kernels in this process, as far as they are used."""
    library = kernels().library
    return times.seconds_by_part(str(library)) if library else {}


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
