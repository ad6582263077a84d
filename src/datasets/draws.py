"""Random numbers that belong to a picture: functions of seed, epoch and picture, whoever draws them, when and where.

SplitMix64 (Steele, Lea and Flood 2014), of which the n-th number is computed without those before it.
"""

from dataclasses import dataclass

import numpy as np

_STEP = np.uint64(0x9E3779B97F4A7C15)
_ROUNDS = ((30, np.uint64(0xBF58476D1CE4E5B9)), (27, np.uint64(0x94D049BB133111EB)))
PURPOSES = ("random_erasing", "augmentation", "auto_augment")


@dataclass(frozen=True)
class Shown:
    """Pictures that an epoch shows, in an order: their indices, int64 (n,), and how often each of them was shown
    before in this epoch, int64 (n,), as balanced sampling repeats pictures.
    """

    seed: int
    epoch: int
    images: np.ndarray
    times: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, places: slice | np.ndarray) -> "Shown":
        return Shown(self.seed, self.epoch, self.images[places], self.times[places])

    def uniforms(self, purpose: str, count: int) -> np.ndarray:
        """Float64 (n, count) from 0 to below 1, others for each of PURPOSES."""
        return (self._bits(purpose, count) >> np.uint64(11)) * 2.0**-53

    def seeds(self, purpose: str) -> np.ndarray:
        """Uint32 (n,), a seed for each."""
        return (self._bits(purpose, 1)[:, 0] >> np.uint64(32)).astype(np.uint32)

    def generator(self, place: int) -> np.random.Generator:
        """Any number of numbers for one picture, by its place in the order; slower than `uniforms`."""
        return np.random.default_rng((self.seed, self.epoch, int(self.images[place]), int(self.times[place])))

    def _bits(self, purpose: str, count: int) -> np.ndarray:
        place = [self.seed, self.epoch, PURPOSES.index(purpose)]
        key = np.random.SeedSequence(place).generate_state(1, np.uint64)
        state = splitmix64(splitmix64(key, self.images), self.times)
        return splitmix64(state[:, None], np.arange(count))


def shown_in(order: np.ndarray, seed: int, epoch: int) -> Shown:
    """The pictures of an epoch's whole order, int64 (n,)."""
    by_image = np.argsort(order, kind="stable")
    starts = np.flatnonzero(np.diff(order[by_image], prepend=-1))
    runs = np.diff(np.append(starts, len(order)))
    times = np.empty(len(order), np.int64)
    times[by_image] = np.arange(len(order)) - np.repeat(starts, runs)
    return Shown(seed, epoch, order, times)


def splitmix64(state: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Uint64: the number-th output, from 0, of the generator that begins in `state`; broadcast."""
    z = state + _STEP * (number.astype(np.uint64) + np.uint64(1))
    for shift, factor in _ROUNDS:
        z = (z ^ (z >> np.uint64(shift))) * factor
    return z ^ (z >> np.uint64(31))
