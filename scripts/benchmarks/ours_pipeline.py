"""This project's training pipeline as a benchmark's step."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np

from scripts.benchmarks.data import CIFAR_IMAGES, JPEG_REPEATS, pictures
from scripts.benchmarks.tasks import Job, Task
from src.datasets.augmentation import Augmentation
from src.datasets.cifar10 import CLASS_NAMES
from src.datasets.classification import Batch, TrainingInput, training_batches
from src.datasets.preprocessing import default_preprocessing
from src.datasets.preprocessing_choices import DECODED
from src.datasets.source import Source
from src.datasets.sources import open_source


def build(job: Job) -> Callable[[], float]:
    """A step that makes one batch and returns one of its pixels."""
    batches = _endless(_source(job.task, job.data), job.task, job.threads)
    return lambda: float(next(batches)[0][0, 0, 0, 0])


def _source(task: Task, folder: Path) -> Source:
    if task.files:
        photographs = open_source("folder", folder / "photographs", split="train")
        return photographs.subset(np.tile(np.arange(len(photographs)), JPEG_REPEATS))
    pixels, labels = pictures(CIFAR_IMAGES)
    return Source("cifar10", CLASS_NAMES, labels, DECODED, pixels.__getitem__, str)


def _endless(source: Source, task: Task, threads: int) -> Iterator[Batch]:
    preprocessing = default_preprocessing(source.dataset, task.image_size)
    how = TrainingInput(augmentation=Augmentation("full"), batch_size=task.batch, seed=0, workers=threads)
    for epoch in count():
        yield from training_batches(source, preprocessing, how, epoch=epoch)
