"""torchvision's training pipeline with the same augmentation, as a benchmark's step."""

from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset

from scripts.benchmarks.data import CIFAR_IMAGES, JPEG_REPEATS, pictures
from scripts.benchmarks.tasks import Job, Task
from scripts.benchmarks.torchvision_beside_cpu import torchvision
from src.datasets.preprocessing import default_preprocessing

v1 = torchvision.transforms


class _InMemory(Dataset):
    """Pixels (n, H, W, 3) uint8 as torchvision's CIFAR10 holds them, each handed on as a Pillow image."""

    def __init__(self, pixels: np.ndarray, labels: np.ndarray, transform: Callable) -> None:
        self.pixels, self.labels, self.transform = pixels, labels, transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple:
        return self.transform(Image.fromarray(self.pixels[i])), int(self.labels[i])


def build(job: Job) -> Callable[[], float]:
    """A step that makes one batch and returns one of its pixels."""
    loader = DataLoader(
        _dataset(job.task, job.data),
        batch_size=job.task.batch,
        shuffle=True,
        num_workers=job.threads,
        drop_last=True,
        persistent_workers=True,
    )
    batches = _endless(loader)
    return lambda: next(batches)[0][0, 0, 0, 0].item()


def _dataset(task: Task, folder: Path) -> Dataset:
    """The pictures of ours_pipeline.py, and the transforms of src/datasets/preprocessing.py in torchvision's words."""
    preprocessing = default_preprocessing("imagenet" if task.files else "cifar10", task.image_size)
    size = task.image_size
    crop = v1.RandomResizedCrop(size, (0.08, 1.0), (0.75, 1.333)) if task.files else v1.RandomCrop(size, padding=4)
    transform = v1.Compose(
        [
            crop,
            v1.RandomHorizontalFlip(),
            v1.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4),
            v1.ToTensor(),
            v1.Normalize(preprocessing.mean, preprocessing.std),
        ]
    )
    if task.files:
        photographs = torchvision.datasets.ImageFolder(str(folder / "photographs"), transform)
        return ConcatDataset([photographs] * JPEG_REPEATS)
    return _InMemory(*pictures(CIFAR_IMAGES), transform)


def _endless(loader: DataLoader) -> Iterator:
    for epoch in repeat(loader):
        yield from epoch
