"""A loaded model, whoever computes it: what `load_model` gives."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src.datasets.pictures import open_pictures
from src.datasets.plain_batches import plain_batches
from src.datasets.preprocessing import Preprocessing
from src.datasets.preprocessing_choices import DECODED
from src.datasets.source import Source
from src.training.mirrored import Logits, mean_answer, mirrored
from src.utils.best_classes import best_classes
from src.utils.errors import UsageError
from src.utils.files import is_folder
from src.utils.padding import padded

# Images (B, C, S, S) float32 -> logits (B, num_classes), and the heat of the highest one (B, h, w), both float32.
Heat = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Answer:
    """What a model says to one picture.

    index: which one of the source. classes, probabilities: the most probable ones, best first. image: the network's
    input, float32 (C, S, S). heat: float32 (h, w), see `GradCam`; None where it was not asked for.
    """

    index: int
    classes: np.ndarray
    probabilities: np.ndarray
    image: np.ndarray
    heat: np.ndarray | None


@dataclass(frozen=True)
class Model:
    """A trained network: how a picture becomes its input, one name for each output, and itself as a function.

    heat: None unless the model was loaded with heat_maps. fixed_batch: each batch size is compiled anew. batches: makes
    its input of pictures, as `plain_batches` or `evaluation_batches` does. tta: answers are those of a picture and its
    mirror image together (`mean_answer`); heat maps are of the picture's own answer.
    """

    path: Path
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    logits: Logits
    heat: Heat | None
    fixed_batch: bool
    task: str = "single"
    batches: Callable[..., Iterator[tuple[np.ndarray, ...]]] = plain_batches
    tta: bool = False

    def predict(self, picture: str | Path | np.ndarray, top: int = 5) -> list[tuple[str, float]]:
        """The names of the `top` most probable classes of one picture, best first, with their probabilities.

        picture: the path of a file, or pixels, uint8 (H, W, 3), red first. Raises ReportedError for a file that is no
        picture that can be decoded, UsageError for a folder or another array.
        """
        if isinstance(picture, np.ndarray):
            source = _pixels(picture)
        elif is_folder(Path(picture)):
            raise UsageError(f"found the folder {picture}, expected one picture; predict.py takes folders")
        else:
            source = open_pictures(Path(picture))
        (answer,) = self.answers(source, top=top, batch_size=1, workers=1)
        return self.named(answer)

    def named(self, answer: Answer) -> list[tuple[str, float]]:
        """The classes of an answer by name, with their probabilities."""
        names = [self.class_names[c] for c in answer.classes]
        return list(zip(names, answer.probabilities.tolist(), strict=True))

    def answers(
        self, source: Source, *, top: int, batch_size: int, workers: int, with_heat: bool = False
    ) -> Iterator[Answer]:
        """Yield an answer for each picture of `source` in its order. Raises ReportedError, see `evaluation_batches`."""
        batch_size = min(batch_size, len(source))
        batches = self.batches(source, self.preprocessing, batch_size=batch_size, workers=workers)
        for images, _, indices in batches:
            given = padded(images, batch_size) if self.fixed_batch else images
            logits, heat = self.heat(given) if with_heat else (self.logits(given), [None] * len(images))
            if self.tta:
                logits = mean_answer(logits, self.logits(mirrored(given)), self.task)
            best = best_classes(logits[: len(images)], top, self.task)
            for i, image, (classes, probabilities), one in zip(indices, images, best, heat, strict=False):
                yield Answer(int(i), classes, probabilities, image, one)


def _pixels(picture: np.ndarray) -> Source:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise UsageError(
            f"found an array {picture.shape} of {picture.dtype}, expected a picture: uint8 (height, width, 3), red "
            "first"
        )
    return Source("pictures", (), np.zeros(1, np.int32), DECODED, lambda _: picture, lambda _: "the array")
