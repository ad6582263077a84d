"""A step of train.py's recipe as a benchmark's: a batch of its pipeline, then an update of the weights."""

from collections.abc import Callable
from pathlib import Path

from scripts.benchmarks.data import CIFAR_IMAGES, pictures
from scripts.benchmarks.tasks import Job
from src.datasets.cifar10 import CLASS_NAMES
from src.datasets.preprocessing import default_preprocessing
from src.datasets.preprocessing_choices import DECODED
from src.datasets.source import Source
from src.model_utils.config import Config, parse
from src.model_utils.device_adapter import set_up_device
from src.model_utils.group import Group
from src.network.densenet import DenseNet
from src.training.model_card import ModelCard
from src.training.teacher import open_teacher
from src.training.update import endless_steps, update
from src.utils.checkpoint import save_checkpoint
from train_parts import build_batches, build_train_step


def build(job: Job) -> Callable[[], float]:
    """A step that trains on one batch and returns its loss. MindSpore takes all cores."""
    set_up_device("CPU", 0, deterministic=False)
    pixels, labels = pictures(CIFAR_IMAGES)
    source = Source("cifar10", CLASS_NAMES, labels, DECODED, pixels.__getitem__, str)
    card = ModelCard(job.task.arch, default_preprocessing("cifar10", job.task.image_size), CLASS_NAMES)
    config = _config(job, card)
    teacher = open_teacher(config.teacher, card, None, Group())
    train_step = build_train_step(config, card, source, "CPU", Group(), teacher)
    train_step.set_train(True)
    steps = endless_steps(build_batches(config, source, card, Group()), config.grad_accumulation_steps)
    return lambda: update(train_step, next(steps), 0.01)[0]


def _config(job: Job, card: ModelCard) -> Config:
    task = job.task
    flags = dict(job.variant.options)["flags"]
    if any("{teacher}" in flag for flag in flags):
        flags = [flag.format(teacher=_teacher(job.data, card)) for flag in flags]
    return parse(
        "train",
        ["--net=densenet100", "--dataset=cifar10", "--train_data_dir=pixels in memory", "--cpu_kernels=on",
         f"--per_batch_size={task.batch}", f"--image_size={task.image_size}", f"--num_parallel_workers={job.threads}",
         "--label_smooth=false", "--graph_cache=off", *flags],
    )  # fmt: skip


def _teacher(folder: Path, card: ModelCard) -> Path:
    """A checkpoint of the same network, with weights of its own."""
    path = folder / "teacher.ckpt"
    if not path.exists():
        save_checkpoint(path, list(DenseNet(card.architecture).get_parameters()), card.to_metadata())
    return path
