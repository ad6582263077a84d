"""This project's network as a benchmark's step, and MindSpore's as it comes."""

from collections.abc import Callable

import mindspore as ms
from mindspore import Tensor

from scripts.benchmarks.data import batch_of
from scripts.benchmarks.tasks import TRAINING, Job
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
