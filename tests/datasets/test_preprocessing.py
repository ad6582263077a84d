"""The one description of preprocessing: its defaults, its file form, and its operators against plain NumPy."""

import json
from io import BytesIO

import mindspore.dataset as ds
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from src.datasets.augmentation import Changes
from src.datasets.operators import eval_transforms, train_transforms
from src.datasets.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, default_preprocessing
from src.datasets.preprocessing_choices import AREA, DECODED, FILES, SHIFTED, WHOLE
from src.utils.errors import ReportedError, UsageError

GOOD = {"image_size": 224, "resize": 256, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.2]}


@pytest.mark.parametrize(
    ("dataset", "image_size", "expected"),
    [
        ("imagenet", 0, (224, 256)),
        ("folder", 64, (64, 64)),
        ("folder", 65, (65, 74)),
        ("list", 299, (299, 342)),
        ("cifar10", 0, (32, 0)),
        ("digits", 16, (16, 0)),
    ],
)
def test_default_sizes(dataset, image_size, expected):
    preprocessing = default_preprocessing(dataset, image_size)
    assert (preprocessing.image_size, preprocessing.resize) == expected


@pytest.mark.parametrize("dataset", ["imagenet", "cifar10", "digits"])
def test_json_and_back(dataset):
    preprocessing = default_preprocessing(dataset)
    assert Preprocessing.from_dict(json.loads(json.dumps(preprocessing.to_dict()))) == preprocessing


def test_of_the_first_version_pixels_are_as_stored():
    read = Preprocessing.from_dict(GOOD)
    assert (read.resize_mode, read.interpolation, read.pixels) == ("squash", "bilinear", "stored")
    assert read.to_dict() == GOOD | {"resize_mode": "squash", "interpolation": "bilinear", "pixels": "stored"}


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"crop_ratio": 0.9}, (224, 249, "squash", 3)),
        ({"resize": "letterbox"}, (224, 224, "letterbox", 3)),
        ({"resize": "letterbox", "crop_ratio": 0.5}, (224, 448, "letterbox", 3)),
        ({"resize": "shorter_side", "image_size": 64}, (64, 64, "shorter_side", 3)),
        ({"input_channels": 1}, (224, 256, "squash", 1)),
    ],
)
def test_what_flags_ask_for(flags, expected):
    found = default_preprocessing("folder", **flags)
    assert (found.image_size, found.resize, found.resize_mode, found.input_channels) == expected
    assert Preprocessing.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_a_crop_of_too_little_is_wrong_usage():
    with pytest.raises(UsageError, match=r"found crop_ratio 0.01 with image_size 224, for which .* to 22400"):
        default_preprocessing("folder", crop_ratio=0.01)


NEW = {"resize_mode": "squash", "interpolation": "bilinear", "pixels": "shown"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": "224"}, "image_size should be an integer from 1 to 8192, found '224'"),
        ({"image_size": True}, "image_size should be an integer"),
        ({"image_size": 0}, "image_size should be an integer from 1"),
        ({"image_size": 10**9}, "found 1000000000"),
        ({"resize": 200}, "resize should be 0 or at least image_size 224, found 200"),
        ({"mean": [0.5, 0.5]}, "mean should be three numbers between 0 and 1"),
        ({"mean": "abc"}, "mean should be three numbers"),
        ({"mean": [0.5, float("nan"), 0.5]}, "mean should be three numbers"),
        ({"std": [0.5, 0, 0.5]}, "std should be three numbers"),
        ({"std": [58.4, 57.1, 57.4]}, "std should be three numbers between 0 and 1"),
        ({"extra": 1}, "should hold image_size, resize, mean, std, found"),
        ({"pixels": "shown"}, "should hold image_size, resize, mean, std, resize_mode, interpolation, pixels, found"),
        (NEW | {"resize_mode": "crop"}, "resize_mode should be one of squash, shorter_side, letterbox, found 'crop'"),
        (NEW | {"interpolation": ["bicubic"]}, "interpolation should be one of bilinear, bicubic"),
        ({"mean": [0.5]}, "mean and std should be of as many channels"),
    ],
)
def test_odd_descriptions_are_turned_down(change, message):
    with pytest.raises(ReportedError, match=message):
        Preprocessing.from_dict(GOOD | change)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=200) | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.slow
@given(json_values)
def test_no_value_of_any_kind_gets_through_or_raises_anything_else(value):
    for values in (value, GOOD | {"mean": value}, GOOD | {"image_size": value}, {1: value}):
        try:
            assert isinstance(Preprocessing.from_dict(values), Preprocessing)
        except ReportedError as error:
            assert len(str(error)) < 400


def bilinear(pixels: np.ndarray, size: int) -> np.ndarray:
    """Resize (H, W, 3) to (size, size, 3) with half-pixel centres, no anti-aliasing, rounded to grey levels."""
    for axis in (0, 1):
        length = pixels.shape[axis]
        position = ((np.arange(size) + 0.5) * length / size - 0.5).clip(0, length - 1)
        low = np.floor(position).astype(int)
        high = (low + 1).clip(max=length - 1)
        weight = (position - low).reshape([-1, 1, 1] if axis == 0 else [1, -1, 1])
        pixels = pixels.take(low, axis) * (1 - weight) + pixels.take(high, axis) * weight
    return np.rint(pixels)


def augmented(transforms: list, image: np.ndarray, count: int) -> list[np.ndarray]:
    """Apply random transforms `count` times. One by one they would always do the same: a call starts from the seed."""
    ds.config.set_seed(1)
    data = ds.GeneratorDataset([(image,)] * count, ["image"], shuffle=False, python_multiprocessing=False)
    return [row[0] for row in data.map(transforms, "image").create_tuple_iterator(num_epochs=1, output_numpy=True)]


def apply(transforms: list, image: np.ndarray) -> np.ndarray:
    for transform in transforms:
        image = transform(image)
    return np.asarray(image)


@pytest.mark.parametrize("name", ["temple 塔/temple 塔 4.png", "flower/flower 5.jpg"])
def test_evaluation_is_squash_to_256_centre_crop_224_normalise(photo_folder, name):
    file = photo_folder / name
    with Image.open(file) as image:
        pixels = np.asarray(image.convert("RGB"), np.float64)
    assert pixels.shape[0] != pixels.shape[1]
    expected = (bilinear(pixels, 256)[16:240, 16:240] / 255 - IMAGENET_MEAN) / IMAGENET_STD
    result = apply(eval_transforms(default_preprocessing("imagenet"), FILES), np.fromfile(file, np.uint8))
    assert (result.shape, result.dtype) == ((3, 224, 224), np.float32)
    grey_levels = np.abs(result - expected.transpose(2, 0, 1)) * np.reshape(IMAGENET_STD, (3, 1, 1)) * 255
    assert grey_levels.max() < 1.01  # one level: OpenCV's fixed-point weights
    assert grey_levels.mean() < 0.2


@pytest.mark.parametrize("augmentation", ["eval", "none"])
def test_small_pictures_of_their_own_size_are_only_normalised(cifar_records, augmentation):
    preprocessing = default_preprocessing("cifar10")
    pixels = cifar_records[0][5]
    transforms = (
        eval_transforms(preprocessing, DECODED)
        if augmentation == "eval"
        else train_transforms(preprocessing, DECODED, Changes(WHOLE))
    )
    expected = ((pixels / 255 - preprocessing.mean) / preprocessing.std).transpose(2, 0, 1)
    np.testing.assert_allclose(apply(transforms, pixels), expected, atol=2e-6)


def test_crop_of_small_pictures_is_a_window_of_the_padded_picture(cifar_records):
    pixels = cifar_records[0][5]
    plain = Preprocessing(32, 0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    padded = np.pad(pixels, ((4, 4), (4, 4), (0, 0)))
    windows = {padded[y : y + 32, x : x + 32].tobytes(): (y, x) for y in range(9) for x in range(9)}
    transforms = train_transforms(plain, DECODED, Changes(SHIFTED))
    seen = set()
    for crop in augmented(transforms, pixels, 300):
        cropped = np.rint(crop.transpose(1, 2, 0) * 255).astype(np.uint8)
        seen.add(windows[cropped.tobytes()])
    assert {y for y, _ in seen} == {x for _, x in seen} == set(range(9))


def test_padding_grows_with_the_image_size():
    plain = Preprocessing(64, 0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    white = np.full((32, 32, 3), 255, np.uint8)
    transforms = train_transforms(plain, DECODED, Changes(SHIFTED))
    borders = [int((crop[0, :, 32] == 0).sum()) for crop in augmented(transforms, white, 200)]
    assert max(borders) == 8


def test_full_augmentation_mirrors_half_of_the_pictures_and_changes_colours():
    plain = Preprocessing(32, 0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    ramp = np.repeat(np.linspace(60, 180, 32)[None, :, None], 32, 0).repeat(3, 2).astype(np.uint8)
    transforms = train_transforms(plain, DECODED, Changes(SHIFTED, mirrors=True, colours=True))
    results = [image[0] for image in augmented(transforms, ramp, 200)]
    mirrored = np.mean([image[16, 6] > image[16, 25] for image in results])
    assert 0.35 < mirrored < 0.65
    brightness = [image[8:24, 8:24].mean() * 255 / 120 for image in results]
    assert min(brightness) < 0.75
    assert max(brightness) > 1.25
    assert min(brightness) > 0.48  # 0.6, and some from the contrast, whose middle grey the black border darkens
    assert max(brightness) < 1.6


def test_photographs_are_cropped_within_the_seed_s_ranges():
    """Coordinates painted as colours tell which part of the picture each crop shows."""
    y, x = np.mgrid[0:240, 0:240]
    chart = np.stack([x, y, np.zeros_like(x)], axis=2).astype(np.uint8)
    buffer = BytesIO()
    Image.fromarray(chart).save(buffer, "PNG")
    data = np.frombuffer(buffer.getvalue(), np.uint8)
    transforms = train_transforms(Preprocessing(64, 73, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), FILES, Changes(AREA))
    areas, ratios = [], []
    for crop in augmented(transforms, data, 300):
        width, height = (np.ptp(crop[channel] * 255) + 1 for channel in (0, 1))
        areas.append(width * height / 240**2)
        ratios.append(width / height)
    assert 0.07 < min(areas) < 0.15
    assert 0.8 < max(areas) <= 1.01
    assert 0.7 < min(ratios) < 0.85
    assert 1.2 < max(ratios) < 1.4


def test_another_input_size_keeps_the_share_of_the_picture():
    assert default_preprocessing("imagenet").at(288) == default_preprocessing("imagenet", 288)
    assert default_preprocessing("imagenet", 288).resize == 329
