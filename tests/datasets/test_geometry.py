"""Pictures of every kind through the pipelines, against what Pillow, and torchvision's arithmetic over it, make."""

from dataclasses import replace
from functools import cache
from io import BytesIO

import numpy as np
import pytest
from augmented import augmented_batches
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_images

from src.datasets.augmentation import Changes, usual_augmentation
from src.datasets.classification import evaluation_batches
from src.datasets.geometry import evaluation_pixels, shorter_side_sizes, training_pixels
from src.datasets.preprocessing import Preprocessing, default_preprocessing
from src.datasets.preprocessing_choices import DECODED, FILES, SHIFTED
from src.datasets.source import Source
from src.utils.errors import ReportedError

ZEROS, ONES = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
GEOMETRIES = {
    "squash to its own size": Preprocessing(320, 0, ZEROS, ONES),
    "squash, bicubic": Preprocessing(90, 99, ZEROS, ONES, "squash", "bicubic"),
    "torchvision": Preprocessing(224, 256, ZEROS, ONES, "shorter_side"),
    "timm 0.9": Preprocessing(224, 248, ZEROS, ONES, "shorter_side", "bicubic"),
    "letterbox": Preprocessing(111, 0, ZEROS, ONES, "letterbox"),
    "grey": Preprocessing(64, 73, (0.0,), (1.0,)),
    "grey, shorter side": Preprocessing(64, 73, (0.0,), (1.0,), "shorter_side", "bicubic"),
}


def encoded(picture: Image.Image, file_format: str, **options: object) -> bytes:
    file = BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()


@cache
def pictures() -> dict[str, bytes]:
    """Of every orientation, transparency, depth and colour space; 320 x 320, so that squashing to that changes none."""
    temple, flower = (Image.fromarray(image[50:370, 100:420]) for image in load_sample_images().images)
    pixels = np.asarray(temple)
    alpha = np.tile(np.arange(320) % 256, (320, 1)).astype(np.uint8)
    see_through = Image.fromarray(np.dstack([pixels, alpha]))
    deep = Image.fromarray(pixels[..., 0].astype(np.uint16) * 251 + 77)
    found = {}
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        for kind in ("JPEG", "PNG", "TIFF"):
            found[f"{kind} of orientation {orientation}"] = encoded(flower, kind, exif=exif)
    return found | {
        "RGBA": encoded(see_through, "PNG"),
        "RGBA TIFF": encoded(see_through, "TIFF"),
        "grey with alpha": encoded(see_through.convert("LA"), "PNG"),
        "palette": encoded(temple.quantize(200), "PNG"),
        "palette with a transparent colour": encoded(temple.quantize(100), "PNG", transparency=3),
        "RGB with a transparent colour": encoded(temple, "PNG", transparency=tuple(map(int, pixels[0, 0]))),
        "1 bit": encoded(temple.convert("1"), "PNG"),
        "1 bit TIFF": encoded(temple.convert("1"), "TIFF", compression="group4"),
        "16 bit": encoded(deep, "PNG"),
        "16 bit TIFF": encoded(deep, "TIFF"),
        "CMYK": encoded(temple.convert("CMYK"), "JPEG"),
        "grey": encoded(temple.convert("L"), "JPEG"),
        "BMP": encoded(temple, "BMP"),
        "first of two pages": encoded(temple, "TIFF", save_all=True, append_images=[flower]),
    }


def source_of(files: dict[str, bytes]) -> Source:
    names, data = list(files), [np.frombuffer(content, np.uint8) for content in files.values()]
    return Source("folder", ("any",), np.zeros(len(data), np.int32), FILES, data.__getitem__, names.__getitem__)


def as_people_see_it(data: bytes, channels: int) -> Image.Image:
    """Written down once more, with Pillow's own functions."""
    image = ImageOps.exif_transpose(Image.open(BytesIO(data)))
    if image.mode == "I;16":
        deep = np.asarray(image)
        return Image.fromarray((deep / 257).astype(np.float32) if channels == 1 else (deep >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA")).convert("RGB")
    return image if image.mode == "L" else image.convert("RGB").convert("L") if channels == 1 else image.convert("RGB")


def as_elsewhere(image: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    """The geometry in torchvision's arithmetic (Resize, CenterCrop) and Pillow's (ImageOps.pad), (C, S, S) to 255."""
    size, crop = preprocessing.resized_to, preprocessing.image_size
    method = FILTERS[preprocessing.interpolation]
    if preprocessing.resize_mode == "letterbox":
        image = ImageOps.pad(image, (size, size), method)
    elif preprocessing.resize_mode == "squash":
        image = image.resize((size, size), method)
    else:
        short, long = sorted(image.size)
        new = {short: size, long: int(size * long / short)}
        image = image.resize((new[image.width], new[image.height]), method)
    left, top = round((image.width - crop) / 2.0), round((image.height - crop) / 2.0)
    pixels = np.asarray(image.crop((left, top, left + crop, top + crop)), np.float32)
    return np.broadcast_to(np.atleast_3d(pixels), (crop, crop, preprocessing.input_channels)).transpose(2, 0, 1)


@pytest.mark.slow
@pytest.mark.parametrize("preprocessing", GEOMETRIES.values(), ids=GEOMETRIES)
def test_every_kind_of_picture_has_the_pixels_that_pillow_gives(preprocessing):
    files = pictures()
    source = source_of(files)
    (batch,) = evaluation_batches(source, preprocessing, batch_size=len(files), workers=2)
    (trained,) = augmented_batches(
        source, preprocessing, augmentation="none", batch_size=len(files), seed=1, epoch=0, workers=2
    )
    off = {}
    for i, (name, data) in enumerate(files.items()):
        expected = as_elsewhere(as_people_see_it(data, preprocessing.input_channels), preprocessing)
        off[name] = np.abs(batch[0][i] * 255 - expected).max()
        assert np.array_equal(trained[0][list(trained[2]).index(i)], batch[0][i])
    assert {name: value for name, value in off.items() if value > 1e-3} == {}


def test_sixteen_bits_are_kept_for_one_channel():
    deep = Image.fromarray(np.arange(65536, dtype=np.uint16).reshape(256, 256))
    (batch,) = evaluation_batches(
        source_of({"ramp": encoded(deep, "PNG")}), Preprocessing(256, 0, (0.5,), (0.25,)), batch_size=1, workers=1
    )
    expected = (np.arange(65536) / 65535 - 0.5) / 0.25
    np.testing.assert_allclose(batch[0].ravel(), expected, atol=1e-6)
    assert len(np.unique(batch[0])) == 65536


@pytest.mark.slow
def test_as_stored_nothing_is_turned_and_transparency_is_dropped():
    files = pictures()
    stored = replace(GEOMETRIES["squash to its own size"], pixels="stored")
    names = ("JPEG of orientation 1", "JPEG of orientation 6", "RGBA", "BMP")
    chosen = source_of({name: files[name] for name in names})
    (batch,) = evaluation_batches(chosen, stored, batch_size=4, workers=1)
    assert np.array_equal(batch[0][0], batch[0][1])
    assert np.array_equal(batch[0][2], batch[0][3])


@pytest.mark.parametrize(
    ("size", "shorter", "expected"),
    [((640, 427), 256, (383, 256)), ((427, 640), 256, (256, 383)), ((100, 100), 7, (7, 7)), ((3, 2), 255, (382, 255))],
)
def test_the_longer_side_is_rounded_down(size, shorter, expected):
    assert shorter_side_sizes(size, shorter) == expected


def test_a_picture_too_thin_for_its_shape_is_named():
    source = source_of({"thin.png": encoded(Image.new("RGB", (1000, 1)), "PNG")})
    with pytest.raises(ReportedError, match=r"thin.png cannot be used: a picture of 1000 x 1 pixels is too thin"):
        next(evaluation_batches(source, GEOMETRIES["torchvision"], batch_size=1, workers=1))


def test_of_the_thinnest_letterbox_a_line_is_left():
    line = Image.new("RGB", (1000, 1), "white")
    pixels = evaluation_pixels(line, Preprocessing(32, 0, ZEROS, ONES, "letterbox"))
    assert pixels.any(axis=(1, 2)).sum() == 1
    assert pixels[16].all()


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("augmentation", ["full", "shift", "crop"])
def test_training_pictures_depend_on_seed_and_place_alone(channels, augmentation):
    preprocessing = Preprocessing(48, 55, (0.0,) * channels, (1.0,) * channels, "shorter_side", "bicubic")
    source = source_of(dict(list(pictures().items())[:12]))

    def batches(workers: int, seed: int = 1, first_batch: int = 0) -> list[np.ndarray]:
        place = {"seed": seed, "epoch": 0, "workers": workers, "first_batch": first_batch}
        return [
            b[0] for b in augmented_batches(source, preprocessing, augmentation=augmentation, batch_size=4, **place)
        ]

    first = batches(2)
    assert first[0].shape == (4, channels, 48, 48)
    assert 0 <= min(b.min() for b in first) < max(b.max() for b in first) <= 1
    assert not np.array_equal(first[0], batches(2, seed=2)[0])
    if augmentation != "full" or channels == 1:  # MindSpore changes the colours, by its workers' random streams
        assert np.array_equal(batches(1, first_batch=2), first[2:])


def test_shifts_are_windows_of_the_padded_picture():
    whole = np.arange(1, 32 * 32 + 1, dtype=np.float32).reshape(32, 32)
    preprocessing = Preprocessing(32, 36, (0.0,), (1.0,), "shorter_side")
    padded = np.pad(whole, 4)
    windows = {padded[y : y + 32, x : x + 32].tobytes() for y in range(9) for x in range(9)}
    random = np.random.default_rng(0)
    seen = {
        training_pixels(Image.fromarray(whole), preprocessing, Changes(SHIFTED), random)[..., 0].tobytes()
        for _ in range(300)
    }
    assert seen <= windows
    assert len(seen) > 60


@pytest.mark.parametrize(
    ("dataset", "form", "image_size", "expected"),
    [
        ("digits", DECODED, 32, "crop"),
        ("cifar10", DECODED, 32, "full"),
        ("folder", FILES, 64, "shift"),
        ("folder", FILES, 65, "full"),
    ],
)
def test_small_inputs_from_files_are_shifted(dataset, form, image_size, expected):
    source = Source(dataset, (), np.zeros(0, np.int32), form, lambda _: None, str)
    assert usual_augmentation(source, default_preprocessing(dataset, image_size)) == expected
