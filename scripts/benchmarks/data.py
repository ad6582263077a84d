"""The same numbers for every variant of a task."""

import numpy as np

from scripts.benchmarks.tasks import Task


def batch_of(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Images (B, 3, S, S) float32, normally distributed as normalised ones are, and labels (B,) int32."""
    random = np.random.default_rng(0)
    images = random.standard_normal((task.batch, 3, task.image_size, task.image_size), np.float32)
    return images, random.integers(task.classes, size=task.batch, dtype=np.int32)


def pictures(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels as CIFAR-10's, (count, 32, 32, 3) uint8, and labels (count,) int32."""
    random = np.random.default_rng(0)
    return (
        random.integers(256, size=(count, 32, 32, 3), dtype=np.uint8),
        random.integers(10, size=count, dtype=np.int32),
    )


CIFAR_IMAGES = 50_000
JPEG_REPEATS = 100  # of the few photographs: an epoch as short as theirs would measure its start
