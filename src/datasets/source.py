"""What every data set looks like once it is open."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Source:
    """A data set's pictures and labels, by index.

    labels: (n,) int32, each below len(class_names). read(i) returns uint8: a file's bytes (length,) if `encoded`, else
    pixels (H, W, 3); it raises ReportedError, naming the file, for a picture that cannot be used. image_name(i) is for
    people.
    """

    dataset: str
    class_names: tuple[str, ...]
    labels: np.ndarray
    encoded: bool
    read: Callable[[int], np.ndarray]
    image_name: Callable[[int], str]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[np.ndarray, np.int32, np.int32]:
        return self.read(i), self.labels[i], np.int32(i)

    def subset(self, indices: np.ndarray) -> "Source":
        """Return the data set of only these images, renumbered from 0."""
        return replace(
            self,
            labels=self.labels[indices],
            read=lambda i: self.read(indices[i]),
            image_name=lambda i: self.image_name(indices[i]),
        )
