"""Mixup and CutMix: what a batch is mixed with and how, as pure functions of where in training it stands."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

_STREAM = 0x6D6978  # tells these random numbers from others that are drawn from the same seed


class Mix(NamedTuple):
    """How image i of a batch, a, becomes keep * a + (1 - keep) * b with b = image permutation[i].

    permutation: (B,) int32. keep: (H, W) float32, mixup's lambda everywhere, or CutMix's 0 in a box and 1 outside.
    share: () float32, the mean of keep, how much the label of a counts, that of b for the rest.
    """

    permutation: np.ndarray
    keep: np.ndarray
    share: np.ndarray

    def mixed(self, images: np.ndarray) -> np.ndarray:
        """The images (B, C, H, W) float32 as the network sees them; in training the step's graph computes that."""
        return images * self.keep + images[self.permutation] * (1 - self.keep)

    def of_size(self, batch: int) -> "Mix":
        """The same for a batch of another size, each image with its mirror place."""
        return self._replace(permutation=np.arange(batch, dtype=np.int32)[::-1].copy())


@dataclass(frozen=True)
class Mixing:
    """mixup, cutmix: alpha of the distribution Beta(alpha, alpha) of lambda; 0: not this one. Of both, each batch gets
    one, with probability 1/2 (as timm has it).

    mixup: Zhang et al. 2018 (arXiv:1710.09412). cutmix: Yun et al. 2019 (arXiv:1905.04899).
    """

    mixup: float
    cutmix: float
    seed: int

    def draw(self, epoch: int, first_image: int, rank: int, batch: int, height: int, width: int) -> Mix:
        """For the `batch` images (height, width) of this rank that follow the epoch's first_image images of all ranks.

        The same arguments give the same numbers, so that a resumed run mixes as one that was not interrupted.
        """
        random = np.random.default_rng([_STREAM, self.seed, epoch, first_image, rank])
        cuts = random.random() < 0.5 if self.mixup and self.cutmix else bool(self.cutmix)
        alpha = self.cutmix if cuts else self.mixup
        share = random.beta(alpha, alpha)
        keep = np.full((height, width), share, np.float32)
        if cuts:
            (top, bottom), (left, right) = (_side(share, size, random) for size in (height, width))
            keep[:] = 1.0
            keep[top:bottom, left:right] = 0.0
            share = 1.0 - (bottom - top) * (right - left) / (height * width)
        permutation = random.permutation(batch).astype(np.int32)
        return Mix(permutation, keep, np.array(share, np.float32))


def mixed_batches(
    train_batches: Callable[..., Iterator[tuple[np.ndarray, ...]]],
    mixing: Mixing,
    *,
    rank: int,
    images_per_batch: int,
    epoch: int,
    first_image: int = 0,
    first_batch: int = 0,
) -> Iterator[tuple]:
    """Yield the batches of `train_batches` with the Mix of each behind it; images_per_batch: of all ranks together."""
    batches = train_batches(epoch=epoch, first_image=first_image, first_batch=first_batch)
    for number, (images, *others) in enumerate(batches, start=first_batch):
        place = first_image + number * images_per_batch
        yield images, *others, mixing.draw(epoch, place, rank, len(images), *images.shape[2:])


def _side(share: float, size: int, random: np.random.Generator) -> tuple[int, int]:
    """First and end of the box along a side: sqrt(1 - share) of it, about a place drawn from all, clipped."""
    half, centre = int(size * np.sqrt(1.0 - share)) // 2, int(random.integers(size))
    return max(centre - half, 0), min(centre + half, size)
