"""Augmentation as a function of seed, epoch and picture: the same bits for any number of workers and ranks.

MindSpore's random operators draw from streams that belong to the workers of a pipeline, so that a picture's changes
depend on who comes to it. Here each picture has its own numbers (`draws.py`), and threads decode with Pillow, cut and
resize with MindSpore's operators, and change colours of several pictures at once with NumPy.
"""

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import mindspore.dataset as ds
import numpy as np
from mindspore.dataset import vision

from src.datasets.augmentation import Changes, shift_padding
from src.datasets.decoding import decoded_pixels
from src.datasets.draws import Shown
from src.datasets.geometry import evaluation_pixels, picture_of, random_area, training_pixels, whole_picture
from src.datasets.operators import policy_operators
from src.datasets.preprocessing import Preprocessing
from src.datasets.preprocessing_choices import AREA, FILES, RESIZED, SHIFTED, WHOLE
from src.datasets.source import Source, log_noticed, picture_named
from src.datasets.stages import squashed

JITTER = (0.6, 1.4)  # of brightness, contrast and saturation, as vision.RandomColorAdjust of 0.4
LUMA = (0.299, 0.587, 0.114)  # ITU-R 601-2, of red, green and blue
_TOGETHER = 2**17  # values that stay in a processor's cache while they are changed
_BATCHES_AHEAD = 2
_seeding = threading.Lock()


class Augmented:
    """A data set's pictures and what is done to them in training, see `train_transforms`."""

    def __init__(self, source: Source, preprocessing: Preprocessing, changes: Changes) -> None:
        self.source, self.preprocessing, self.changes = source, preprocessing, changes
        self.policy = policy_operators(preprocessing, changes)
        self.colours = changes.colours and preprocessing.input_channels == 3
        # With Pillow's resizing a picture is shifted and mirrored before the others are there.
        self.moves = changes.place != WHOLE and not preprocessing.antialias

    def images(self, shown: Shown) -> np.ndarray:
        """The inputs, float32 (B, C, S, S), of the pictures `shown`. Raises ReportedError."""
        return self.finish(np.stack([self.pixels(shown, place) for place in range(len(shown))]), shown)

    def pixels(self, shown: Shown, place: int) -> np.ndarray:
        """One picture cut and resized: uint8 (S, S, 3), or float32 (S, S, 1) of one channel."""
        i = int(shown.images[place])
        data = self.source.read(i)
        with picture_named(self.source, i):
            return self._pixels(data, shown, place)

    def _pixels(self, data: np.ndarray, shown: Shown, place: int) -> np.ndarray:
        preprocessing, changes, form = self.preprocessing, self.changes, self.source.form
        if form == RESIZED and not (preprocessing.antialias and changes.place == SHIFTED):
            return data
        if preprocessing.antialias:
            picture = data if form == RESIZED else picture_of(data, preprocessing, form)
            if changes.place == WHOLE:
                return evaluation_pixels(picture, preprocessing)
            return training_pixels(picture, preprocessing, changes, shown.generator(place))
        pixels = decoded_pixels(data, preprocessing.pixels) if form == FILES else data
        if changes.place == AREA:
            size = preprocessing.image_size
            left, top, right, bottom = random_area(pixels.shape[1::-1], shown.generator(place))
            return vision.ResizedCrop(top, left, bottom - top, right - left, (size, size))(pixels)
        return squashed(pixels, whole_picture(preprocessing) if self.moves else preprocessing)

    def finish(self, pixels: np.ndarray, shown: Shown) -> np.ndarray:
        """Pixels (B, S, S, C) of the pictures `shown`, uint8, or float32 if grey -> the input, float32 (B, C, S, S)."""
        numbers = shown.uniforms("augmentation", 6)
        if self.moves:
            padding = shift_padding(pixels.shape[1]) if self.changes.place == SHIFTED else 0
            pixels = moved(pixels, numbers[:, :3], padding, mirrors=self.changes.mirrors)
        if self.policy:
            pixels = np.stack([self._by_policy(*one) for one in zip(pixels, shown.seeds("auto_augment"), strict=True)])
        factors = JITTER[0] + (JITTER[1] - JITTER[0]) * numbers[:, 3:] if self.colours else None
        result = np.empty((len(pixels), pixels.shape[3], *pixels.shape[1:3]), np.float32)
        step = max(1, _TOGETHER // pixels[0].size)
        for start in range(0, len(pixels), step):
            part = slice(start, start + step)
            planes = result[part]
            planes[:] = pixels[part].transpose(0, 3, 1, 2)
            if factors is not None:
                change_colours(planes, factors[part].astype(np.float32))
            normalise(planes, self.preprocessing)
        return result

    def _by_policy(self, pixels: np.ndarray, seed: np.uint32) -> np.ndarray:
        # An operator draws from a stream that begins with the seed of the moment in which it is called.
        with _seeding:
            ds.config.set_seed(int(seed) | 1 << 31)  # as in `augmentation_seed`
            for operator in self.policy:
                pixels = operator(pixels)
        return pixels


def image_stream_batches(
    augmented: Augmented, shown: Shown, batch_size: int, workers: int, first_batch: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield the batches of the pictures `shown`, from the first_batch-th on; those to come are made meanwhile.

    Raises ReportedError for a picture that cannot be used.
    """
    source, ahead = augmented.source, deque()
    with ThreadPoolExecutor(workers, "augmentation") as pool:
        try:
            for start in range(first_batch * batch_size, len(shown), batch_size):
                of_batch = shown[start : start + batch_size]
                ahead.append((of_batch.images, _parts(augmented, of_batch, workers, pool)))
                if len(ahead) > _BATCHES_AHEAD:
                    yield _batch(source, *ahead.popleft())
            while ahead:
                yield _batch(source, *ahead.popleft())
        finally:
            pool.shutdown(cancel_futures=True)
            log_noticed(source)


def _parts(augmented: Augmented, shown: Shown, workers: int, pool: ThreadPoolExecutor) -> list[Future]:
    """The batch in as many parts as there are threads."""
    step = -(-len(shown) // workers)
    return [pool.submit(augmented.images, shown[start : start + step]) for start in range(0, len(shown), step)]


def _batch(source: Source, indices: np.ndarray, parts: list[Future]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    images = np.concatenate([part.result() for part in parts])
    return images, source.labels[indices], indices.astype(np.int32)


def moved(pixels: np.ndarray, uniforms: np.ndarray, padding: int, *, mirrors: bool) -> np.ndarray:
    """Pixels (B, S, S, C), each shifted by up to `padding`, with black where it came from, and mirrored or not.

    uniforms: (B, 3) from 0 to below 1, for down, right and mirror.
    """
    size = pixels.shape[1]
    padded = np.pad(pixels, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    result = np.empty_like(pixels)
    for i, (top, left) in enumerate((uniforms[:, :2] * (2 * padding + 1)).astype(int)):
        step = -1 if mirrors and uniforms[i, 2] < 0.5 else 1
        result[i] = padded[i, top : top + size, left : left + size][:, ::step]
    return result


def change_colours(planes: np.ndarray, factors: np.ndarray) -> None:
    """Change brightness, contrast and saturation of pictures (B, 3, H, W), float32 from 0 to 255, in place.

    factors: float32 (B, 3). Brightness multiplies; contrast is the distance to the picture's mean grey, saturation that
    to each pixel's own grey; after each the values are cut to 0 ... 255, as vision.RandomColorAdjust does.
    """
    brightness, contrast, saturation = factors.T[..., None, None, None]
    planes *= brightness
    np.minimum(planes, 255, out=planes)
    mean = grey_of(planes).mean((1, 2), keepdims=True)[:, None]
    _away_from(mean, planes, contrast)
    _away_from(grey_of(planes)[:, None], planes, saturation)


def _away_from(grey: np.ndarray, planes: np.ndarray, factor: np.ndarray) -> None:
    planes *= factor
    planes += grey * (1 - factor)
    np.clip(planes, 0, 255, out=planes)


def grey_of(planes: np.ndarray) -> np.ndarray:
    """(B, 3, H, W) -> (B, H, W)."""
    red, green, blue = (planes[:, i] * np.float32(weight) for i, weight in enumerate(LUMA))
    red += green
    red += blue
    return red


def normalise(planes: np.ndarray, preprocessing: Preprocessing) -> None:
    """Subtract mean and divide by std, of pictures (B, C, H, W) from 0 to 255, in place."""
    mean, std = (values[:, None, None] for values in preprocessing.levels())
    planes -= mean
    planes /= std
