"""Which image is seen when, and by which rank: pure functions of seed and epoch, so that a run can be resumed.

MindSpore's own sharding fills the last shard with duplicates and would count them twice in an evaluation.
"""

import numpy as np

from src.utils.errors import ReportedError


def epoch_order(num_images: int, seed: int, epoch: int) -> np.ndarray:
    """Return a permutation of range(num_images), int64 (num_images,): the same on all ranks, another one each epoch."""
    return np.random.default_rng([seed, epoch]).permutation(num_images)


def balanced_order(classes: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Return an epoch's images, int64 (n,), in which all classes that occur are equally frequent (or one more).

    classes: (n,) integers, each image's class. Of a class with m images and q places each image comes q // m times, and
    a random part of them once more; the same on all ranks.
    """
    random = np.random.default_rng((seed, epoch))
    present = np.unique(classes)
    places = np.full(len(present), len(classes) // len(present))
    places[random.permutation(len(present))[: len(classes) % len(present)]] += 1
    chosen = []
    for value, count in zip(present, places, strict=True):
        members = np.flatnonzero(classes == value)
        whole, rest = divmod(int(count), len(members))
        chosen += [np.tile(members, whole), random.permutation(members)[:rest]]
    return random.permutation(np.concatenate(chosen))


def balancing_classes(labels: np.ndarray) -> np.ndarray:
    """Return what `balanced_order` balances, int64 (n,): the labels, or of several an image the rarest that it shows.

    Images that show none are a class of their own.
    """
    if labels.ndim == 1:
        return labels.astype(np.int64)
    shows = labels == 1
    rarity = np.where(shows, shows.sum(0), np.iinfo(np.int64).max)
    return np.where(shows.any(1), rarity.argmin(1), labels.shape[1])


def augmentation_seed(seed: int, epoch: int, rank: int, first_image: int = 0) -> int:
    """Return the seed of MindSpore's random operators for this epoch, from `first_image` on: another for each rank.

    The highest bit is set because MindSpore takes one value, 5489, to mean "not seeded".
    """
    place = [seed, epoch, rank] + ([first_image] if first_image else [])
    return int(np.random.SeedSequence(place).generate_state(1)[0]) | 1 << 31


def steps_per_epoch(num_images: int, batch_size: int, world_size: int = 1) -> int:
    """Return how many global batches of world_size * batch_size images an epoch has; the remainder is left out.

    Raises ReportedError if there is not a single one.
    """
    steps = num_images // (batch_size * world_size)
    if steps == 0:
        ranks = f" on each of {world_size} ranks" if world_size > 1 else ""
        raise ReportedError(
            f"the training set has {num_images} images, fewer than one batch of {batch_size}{ranks}; "
            "lower --per_batch_size"
        )
    return steps


def training_indices(order: np.ndarray, batch_size: int, rank: int = 0, world_size: int = 1) -> np.ndarray:
    """Return this rank's part of an epoch's order, int64 (steps * batch_size,).

    Global batch t is order[t * world_size * batch_size :][: world_size * batch_size]; rank r takes the r-th batch_size
    of it, so that all ranks together see the images that one process with a world_size times larger batch would see.
    """
    steps = steps_per_epoch(len(order), batch_size, world_size)
    return order[: steps * world_size * batch_size].reshape(steps, world_size, batch_size)[:, rank].ravel()


def evaluation_indices(num_images: int, rank: int = 0, world_size: int = 1) -> np.ndarray:
    """Return this rank's images, int64: over all ranks each image exactly once. A rank may have none."""
    return np.arange(rank, num_images, world_size)
