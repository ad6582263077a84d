"""A picture's geometry with Pillow's antialiased resizing, for the preprocessing that MindSpore's operators cannot do.

The sizes and offsets are those of torchvision's Resize and CenterCrop, which resize pictures with Pillow, and of
Pillow's ImageOps.pad; ascend310_infer does the same in C++, bit for bit.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image

from src.datasets.augmentation import Changes, shift_padding
from src.datasets.preprocessing import Preprocessing
from src.datasets.preprocessing_choices import DECODED, FILES, RESIZED, SHIFTED, WHOLE
from src.datasets.shown import as_bitmap, differs_as_shown, grey, rgb, shown_picture, stored_picture

# (data of a source's picture, its place in the epoch's order) -> what the pipeline's operators are given.
Prepare = Callable[[np.ndarray, int], np.ndarray]
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_AREA, _RATIO, _TRIES = (0.08, 1.0), (3 / 4, 4 / 3), 10  # of random areas, as torchvision's RandomResizedCrop
MAX_LONGER_SIDE = 65_500  # as kLongestSide in C++: a picture of 1 x 10,000 pixels would take gigabytes
_COLOURS = (0.6, 1.4)  # factors of brightness and contrast


def evaluation_preparation(preprocessing: Preprocessing, form: str) -> Prepare | None:
    """What is done with a picture in `form` (see `Source`) before `eval_transforms`; None: nothing."""
    if form == RESIZED:
        return None
    if preprocessing.antialias:
        return lambda data, _: evaluation_pixels(picture_of(data, preprocessing, form), preprocessing)
    return as_shown if form == FILES and preprocessing.pixels == "shown" else None


def training_preparation(preprocessing: Preprocessing, form: str, changes: Changes, seed: int) -> Prepare | None:
    """What is done with a picture before `train_transforms`; None: nothing. Random by seed and place alone."""
    if changes.place == WHOLE or not preprocessing.antialias:
        return evaluation_preparation(preprocessing, form)

    def prepare(data: np.ndarray, place: int) -> np.ndarray:
        random = np.random.default_rng((seed, place))
        picture = data if form == RESIZED else picture_of(data, preprocessing, form)
        return training_pixels(picture, preprocessing, changes, random)

    return prepare


def evaluation_pixels(image: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    """Resize and crop a picture, RGB, L or F: uint8 (S, S, 3), or float32 (S, S, 1) from 0 to 255."""
    size = preprocessing.resized_to
    method = _FILTERS[preprocessing.interpolation]
    if preprocessing.resize_mode == "squash":
        image = image.resize((size, size), method)
    elif preprocessing.resize_mode == "shorter_side":
        image = image.resize(shorter_side_sizes(image.size, size), method)
    else:
        image = _letterbox(image, size, method)
    crop = preprocessing.image_size
    left, top = round((image.width - crop) / 2), round((image.height - crop) / 2)
    return _array(image.crop((left, top, left + crop, top + crop)))


def shorter_side_sizes(size: tuple[int, int], shorter: int) -> tuple[int, int]:
    """(width, height) of a picture of `size` whose shorter side becomes `shorter`; the longer is rounded down.

    Raises ValueError when that would be longer than MAX_LONGER_SIDE.
    """
    width, height = size
    longer = shorter * max(size) / min(size)
    if longer > MAX_LONGER_SIDE:
        raise ValueError(
            f"a picture of {width} x {height} pixels is too thin to be resized to a shorter side of {shorter}"
        )
    return (shorter, int(longer)) if width <= height else (int(longer), shorter)


def training_pixels(
    image: Image.Image | np.ndarray,
    preprocessing: Preprocessing,
    changes: Changes,
    random: np.random.Generator,
) -> np.ndarray:
    """As `evaluation_pixels`, at random: a shift of the whole picture or an area of it, a mirror, and of grey pictures
    brightness and contrast (those of colours `train_transforms` changes).

    image: one that is shifted may be resized already, as `whole_picture` says.
    """
    size = preprocessing.image_size
    if changes.place == SHIFTED:
        padding = shift_padding(size)
        is_resized = isinstance(image, np.ndarray)
        whole = image if is_resized else evaluation_pixels(image, whole_picture(preprocessing))
        padded = np.pad(whole, ((padding, padding), (padding, padding), (0, 0)))
        top, left = random.integers(2 * padding + 1, size=2)
        pixels = padded[top : top + size, left : left + size]
    else:
        area = image.crop(random_area(image.size, random))
        pixels = _array(area.resize((size, size), _FILTERS[preprocessing.interpolation]))
    if changes.mirrors and random.random() < 0.5:
        pixels = pixels[:, ::-1]
    if changes.colours and pixels.shape[2] == 1:
        pixels = _other_light(pixels, random)
    return np.ascontiguousarray(pixels)


def whole_picture(preprocessing: Preprocessing) -> Preprocessing:
    """The same without a crop: what a picture that is shifted in training is resized by."""
    return replace(preprocessing, resize=0)


def as_shown(data: np.ndarray, _: int = 0) -> np.ndarray:
    """What MindSpore decodes of a file's bytes that it would show otherwise than people see them."""
    return as_bitmap(rgb(shown_picture(data))) if differs_as_shown(data) else data


def picture_of(data: np.ndarray, preprocessing: Preprocessing, form: str) -> Image.Image:
    """A picture, in FILES or DECODED, in the mode RGB, L or F, for `evaluation_pixels`. Raises what Pillow raises."""
    if form == DECODED:
        image = Image.fromarray(data)
    else:
        image = shown_picture(data) if preprocessing.pixels == "shown" else stored_picture(data)
    return grey(image) if preprocessing.input_channels == 1 else rgb(image)


def _letterbox(image: Image.Image, size: int, method: Image.Resampling) -> Image.Image:
    width, height = image.size  # as ImageOps.pad, but of the thinnest picture a line is left
    fitted = (
        min(size, max(1, round(width / height * size))) if width < height else size,
        min(size, max(1, round(height / width * size))) if width > height else size,
    )
    padded = Image.new(image.mode, (size, size))
    padded.paste(image.resize(fitted, method), (round((size - fitted[0]) * 0.5), round((size - fitted[1]) * 0.5)))
    return padded


def _array(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image)
    # All rows of a pipeline's column are of one type.
    return pixels if pixels.ndim == 3 else pixels[..., None].astype(np.float32)


def random_area(size: tuple[int, int], random: np.random.Generator) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of an area of a picture of `size` (width, height), as of torchvision's
    RandomResizedCrop: a share of it that is uniform, a shape whose logarithm is.
    """
    width, height = size
    for _ in range(_TRIES):
        area = random.uniform(*_AREA) * width * height
        ratio = math.exp(random.uniform(math.log(_RATIO[0]), math.log(_RATIO[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(random.integers(width - w + 1)), int(random.integers(height - h + 1))
            return left, top, left + w, top + h
    w = min(width, max(1, round(height * _RATIO[1])))  # the centre, as near to these shapes as the picture's is
    h = min(height, max(1, round(width / _RATIO[0])))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def _other_light(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    brightness, contrast = random.uniform(*_COLOURS, 2).astype(np.float32)
    pixels = (pixels * brightness).clip(0, 255)
    return (pixels.mean() + contrast * (pixels - pixels.mean())).clip(0, 255).astype(np.float32)
