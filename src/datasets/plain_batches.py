"""Batches for evaluation without MindSpore: the same bits as its pipeline's, in NumPy and Pillow. Of damaged JPEGs that
both accept, the pixels behind the damage may differ.

For models of other runtimes, which answer sooner than MindSpore is imported; its own pipeline is faster over many
pictures.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from src.datasets.decoding import decoded_pixels
from src.datasets.geometry import evaluation_pixels, picture_of
from src.datasets.preprocessing import Preprocessing
from src.datasets.preprocessing_choices import FILES
from src.datasets.resizing import resized
from src.datasets.source import Source, log_noticed, picture_named
from src.utils.read_ahead import in_order


def plain_batches(
    source: Source, preprocessing: Preprocessing, *, batch_size: int, workers: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """As `evaluation_batches`: images (B, C, S, S) float32, labels and indices (B,) int32, in order, each image once.

    Raises the ReportedError of the first one that cannot be used.
    """
    with ThreadPoolExecutor(workers, "image reader") as pool:
        rows = _rows(source, preprocessing, pool, ahead=2 * batch_size + 2 * workers)
        try:
            for first in range(0, len(source), batch_size):
                batch = [next(rows) for _ in range(min(batch_size, len(source) - first))]
                images, labels, indices = zip(*batch, strict=True)
                yield np.stack(images), np.stack(labels), np.array(indices, np.int32)
        finally:
            pool.shutdown(cancel_futures=True)
            log_noticed(source)


def network_input(data: np.ndarray, preprocessing: Preprocessing, form: str) -> np.ndarray:
    """One picture, in FILES or DECODED: float32 (input_channels, S, S).

    Raises what Pillow raises, and ValueError for a shape that cannot be resized.
    """
    size = preprocessing.image_size
    if preprocessing.antialias:
        pixels = evaluation_pixels(picture_of(data, preprocessing, form), preprocessing)
    else:
        pixels = decoded_pixels(data, preprocessing.pixels) if form == FILES else data
        pixels = resized(pixels, preprocessing.resized_to)
        top = left = (preprocessing.resized_to - size) // 2
        pixels = pixels[top : top + size, left : left + size]
    mean, std = preprocessing.levels()
    return np.ascontiguousarray(((pixels.astype(np.float32) - mean) / std).transpose(2, 0, 1))


def _rows(
    source: Source, preprocessing: Preprocessing, pool: ThreadPoolExecutor, ahead: int
) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    def load(i: int) -> tuple[np.ndarray, np.ndarray, int]:
        data, label, index = source[i]
        with picture_named(source, i):
            return network_input(data, preprocessing, source.form), label, index

    return in_order((partial(load, i) for i in range(len(source))), pool, ahead)
