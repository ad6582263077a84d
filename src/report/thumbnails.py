"""Small pictures of what a network was shown, with the heat of what it answered."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from src.datasets.classification import evaluation_batches
from src.datasets.preprocessing import Preprocessing
from src.datasets.preview import shown_pixels
from src.report.evaluated import Evaluated
from src.utils.data_url import data_url
from src.utils.heat import overlay
from src.utils.padding import padded

EXAMPLES = 12  # of each kind
_THUMBNAIL = 112  # pixels


@dataclass(frozen=True)
class Shown:
    """A picture to show: its place in the data set, the class whose heat it gets, and what is written below."""

    index: int
    heat_of: int
    answer: str
    label: str
    confidence: float


def thumbnails(evaluated: Evaluated, kinds: Mapping[str, Sequence[Shown]]) -> dict[str, list[dict]]:
    """What the page's template takes for each of the pictures of each kind."""
    # All at once: the network was compiled for whole batches.
    found = iter(_thumbnails(evaluated, [one for shown in kinds.values() for one in shown]))
    return {kind: list(itertools.islice(found, len(shown))) for kind, shown in kinds.items()}


def _thumbnails(evaluated: Evaluated, shown: Sequence[Shown]) -> list[dict]:
    found = []
    if not shown:
        return found
    subset = evaluated.source.subset(np.array([one.index for one in shown]))
    batch_size, preprocessing = evaluated.batch_size, evaluated.card.preprocessing
    for images, _, indices in evaluation_batches(
        subset, preprocessing, batch_size=batch_size, workers=evaluated.workers
    ):
        classes = padded(np.array([shown[i].heat_of for i in indices]), batch_size)
        _, heat = evaluated.network(padded(images, batch_size), classes)
        for image, hot, i in zip(images, heat, indices, strict=False):
            one = shown[i]
            found.append({
                "name": subset.image_name(i), "label": one.label, "answer": one.answer, "confidence": one.confidence,
                **_pictures(image, hot, preprocessing),
            })  # fmt: skip
    return found


def _pictures(image: np.ndarray, heat: np.ndarray, preprocessing: Preprocessing) -> dict[str, str]:
    pixels = shown_pixels(image, preprocessing)
    resampling = Image.Resampling.NEAREST if len(pixels) < _THUMBNAIL else Image.Resampling.LANCZOS
    small = [
        Image.fromarray((values * 255).round().astype(np.uint8)).resize((_THUMBNAIL, _THUMBNAIL), resampling)
        for values in (pixels, overlay(pixels, heat))
    ]
    return {"picture": data_url(small[0], "JPEG"), "heat": data_url(small[1], "JPEG")}
