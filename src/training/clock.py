"""How fast training goes, and how much of its time it waits for data."""

from dataclasses import dataclass


@dataclass
class Clock:
    """Time spent training, of that waiting for data, and the images done in it."""

    seconds: float = 0.0
    waited: float = 0.0
    images: int = 0

    def add(self, seconds: float, waited: float, images: int) -> None:
        """Take a step in."""
        self.seconds += seconds
        self.waited += waited
        self.images += images

    @property
    def images_per_second(self) -> float:
        """0 before the first step."""
        return self.images / self.seconds if self.seconds else 0.0

    @property
    def wait_percent(self) -> float:
        """The share of the time that was spent waiting for data; 0 before the first step."""
        return 100 * self.waited / self.seconds if self.seconds else 0.0
