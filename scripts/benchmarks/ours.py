"""This project's network as a benchmark's step, and MindSpore's as it comes.

python -m scripts.benchmarks.ours TASK quick|full MODEL      exports the task's network as .onnx or .engine, for others
"""

import sys
from collections.abc import Callable
from pathlib import Path

import mindspore as ms
from mindspore import Tensor

from scripts.benchmarks.data import batch_of
from scripts.benchmarks.tasks import TRAINING, Job, Task, task_named
from src.datasets.preprocessing import default_preprocessing
from src.deploy.engine_file import write_engine_file
from src.deploy.export import workshop, write_onnx
from src.deploy.manifest import Manifest
from src.losses.crossentropy import CrossEntropy
from src.model_utils.device_adapter import set_up_device
from src.network.densenet import DenseNet
from src.ops import times
from src.ops.build import kernels
from src.ops.select import select_kernels
from src.optimizers.sgd import SGD
from src.training.evaluation import PredictStep
from src.training.step import TrainStep


def build(job: Job) -> Callable[[], float]:
    """A step that trains or predicts one batch and returns a number of its result. MindSpore takes all cores.

    Raises ReportedError when the kernels that the variant asks for cannot be had.
    """
    set_up_device("CPU", 0, deterministic=False)
    arch, options = job.task.arch, dict(job.variant.options)
    selection = select_kernels(
        options["cpu_kernels"], options["cpu_precision"], device="CPU", transition_pool=arch.transition_pool
    )
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
    network = DenseNet(task.arch)
    if path.suffix == ".engine":
        manifest = Manifest("ENGINE", "float32", 0, "imagenet", task.arch, preprocessing, names)
        write_engine_file({one.name: one.asnumpy() for one in network.get_parameters()}, manifest, path)
        return
    manifest = Manifest("ONNX", "float32", 0, "imagenet", task.arch, preprocessing, names)
    with workshop() as folder:
        made = folder / "model.onnx"
        write_onnx(PredictStep(network), manifest, made)
        path.write_bytes(made.read_bytes())


if __name__ == "__main__":
    export(task_named(sys.argv[1], sys.argv[2] == "quick"), Path(sys.argv[3]))
