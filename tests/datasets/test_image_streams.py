"""Augmentation by picture: the same bits for any workers, ranks and pauses, and changes as they are defined."""

from dataclasses import replace

import numpy as np
import pytest
from augmented import augmented_batches
from mindspore.dataset import vision
from PIL import Image

from src.datasets.classification import evaluation_batches, worker_count
from src.datasets.image_streams import change_colours, moved
from src.datasets.preprocessing import default_preprocessing
from src.datasets.sources import open_source
from src.utils.errors import ReportedError

DIGITS = open_source("digits", "", split="train").subset(np.arange(48))
SMALL = default_preprocessing("cifar10")
WORKERS = worker_count()


def by_image(source, preprocessing, **options) -> dict[int, bytes]:
    """What each picture became."""
    return {
        int(i): image.tobytes()
        for images, _, indices in batches(source, preprocessing, **options)
        for i, image in zip(indices, images, strict=True)
    }


def batches(source, preprocessing, **options):
    options = {"augmentation": "full", "batch_size": 4, "seed": 1, "epoch": 2, "workers": WORKERS} | options
    return augmented_batches(source, preprocessing, streams="image", **options)


ALL = {"auto_augment": "trivial", "random_erasing": 0.5}
WAYS = [
    ("pixels", SMALL, {}),
    ("pixels", SMALL, ALL),
    ("pixels", SMALL, {"size": 16, "augmentation": "shift", "auto_augment": "rand"}),
    ("pixels", default_preprocessing("digits", input_channels=1), {"random_erasing": 1.0}),
    ("files", default_preprocessing("folder", 80), ALL | {"auto_augment": "auto"}),
    ("files", default_preprocessing("folder", 32), {"augmentation": "shift"}),
    ("files", default_preprocessing("folder", 32), {"augmentation": "none"}),
    ("files", default_preprocessing("folder", 40, resize="shorter_side", interpolation="bicubic"), ALL),
]


@pytest.mark.parametrize(("kind", "preprocessing", "options"), WAYS, ids=str)
def test_bits_depend_on_seed_epoch_and_picture_alone(kind, preprocessing, options, photo_folder):
    source = DIGITS if kind == "pixels" else open_source("folder", photo_folder, split="train")
    count = len(source) // 4 * 4
    expected = by_image(source, preprocessing, workers=1, **options)
    assert len(expected) == count
    for change in ({"workers": WORKERS}, {"first_batch": 1}, {"batch_size": 2, "first_image": 4}):
        found = by_image(source, preprocessing, **options | change)
        common = found.keys() & expected.keys()
        assert {i: found[i] for i in common} == {i: expected[i] for i in common}
        assert len(common) >= count - 4
    ranks = [by_image(source, preprocessing, **options, batch_size=2, rank=r, world_size=2) for r in (0, 1)]
    assert ranks[0] | ranks[1] == expected
    if options.get("augmentation") != "none":
        for change in ({"seed": 5}, {"epoch": 3}):
            others = by_image(source, preprocessing, **options | change)
            assert len(others.items() & expected.items()) <= count / 4  # a policy may make two pictures all black


def test_a_picture_that_comes_twice_is_changed_otherwise():
    twice = replace(DIGITS, labels=np.where(np.arange(48) < 2, 0, 1).astype(np.int32))
    found = [
        (int(i), image.tobytes())
        for images, _, indices in batches(twice, SMALL, balanced=True)
        for i, image in zip(indices, images, strict=True)
    ]
    of_the_rare = [image for i, image in found if i < 2]
    assert len(set(of_the_rare)) == len(of_the_rare) > 20


def test_without_augmentation_it_is_the_evaluation(photo_folder):
    source, preprocessing = open_source("folder", photo_folder, split="train"), default_preprocessing("folder", 48)
    expected = np.concatenate([b[0] for b in evaluation_batches(source, preprocessing, batch_size=3, workers=1)])
    for images, labels, indices in batches(source, preprocessing, augmentation="none"):
        np.testing.assert_allclose(images, expected[indices], atol=2e-6)
        np.testing.assert_array_equal(labels, source.labels[indices])
        assert (images.dtype, labels.dtype, indices.dtype) == (np.float32, np.int32, np.int32)


def test_colours_change_as_mindspore_s_operators_change_them(photographs):
    factors = np.array([[0.6, 1.4, 1.3], [1.4, 0.6, 0.7], [1.0, 1.0, 1.0]], np.float32)
    pixels = np.stack([photographs[i % 2][100:164, 200:264] for i in range(3)])
    planes = pixels.transpose(0, 3, 1, 2).astype(np.float32)
    change_colours(planes, factors)
    for image, found, (brightness, contrast, saturation) in zip(pixels, planes, factors.tolist(), strict=True):
        for operator, factor in (
            (vision.AdjustBrightness, brightness),
            (vision.AdjustContrast, contrast),
            (vision.AdjustSaturation, saturation),
        ):
            image = operator(factor)(image)
        difference = np.abs(found.transpose(1, 2, 0) - image)
        assert difference.max() < 3  # the operators round to levels after each
        assert difference.mean() < 1


def test_shifts_and_mirrors_are_the_paper_s():
    pixels = np.random.default_rng(0).integers(1, 255, (500, 32, 32, 3)).astype(np.uint8)
    found = moved(pixels, np.random.default_rng(1).random((500, 3)), 4, mirrors=True)
    seen, mirrors = set(), 0
    for image, result in zip(pixels, found, strict=True):
        padded = np.pad(image, ((4, 4), (4, 4), (0, 0)))
        windows = {padded[y : y + 32, x : x + 32].tobytes(): (y, x) for y in range(9) for x in range(9)}
        mirrored = result.tobytes() not in windows
        seen.add(windows[result[:, ::-1].tobytes() if mirrored else result.tobytes()])
        mirrors += mirrored
    assert {y for y, _ in seen} == {x for _, x in seen} == set(range(9))
    assert 200 < mirrors < 300


def test_areas_of_photographs_are_cut_within_the_seed_s_ranges(tmp_path):
    """Coordinates painted as colours tell which part of the picture each crop shows."""
    y, x = np.mgrid[0:240, 0:240]
    (tmp_path / "chart").mkdir()
    Image.fromarray(np.stack([x, y, 0 * x], 2).astype(np.uint8)).save(tmp_path / "chart" / "a.png")
    source = open_source("folder", tmp_path, split="train").subset(np.zeros(200, np.int64))
    plain = replace(default_preprocessing("folder", 96), mean=(0.0,) * 3, std=(1.0,) * 3)
    sides = np.concatenate([
        np.ptp(images[:, :2] * 255, axis=(2, 3)) + 1
        for images, *_ in batches(source, plain, augmentation="crop", batch_size=50)
    ])  # fmt: skip
    areas, ratios = sides.prod(1) / 240**2, sides[:, 0] / sides[:, 1]
    assert 0.07 < areas.min() < 0.15
    assert 0.8 < areas.max() <= 1.01
    assert 0.7 < ratios.min() < 0.85
    assert 1.2 < ratios.max() < 1.4


def test_a_broken_picture_is_named_and_nothing_runs_on(photo_folder, tmp_path):
    import shutil
    import threading

    folder = shutil.copytree(photo_folder, tmp_path / "photos")
    source = open_source("folder", folder, split="train")
    (folder / "flower" / "flower 2.jpg").write_text("this is no picture")
    before = threading.active_count()
    with pytest.raises(ReportedError, match=r"flower 2\.jpg should be"):
        list(batches(source, default_preprocessing("folder", 96), batch_size=11))
    next(batches(DIGITS, SMALL))  # left before its end
    assert threading.active_count() <= before


@pytest.mark.parametrize("preprocessing", [SMALL, default_preprocessing("folder", 32)], ids=["CIFAR's", "ImageNet's"])
def test_without_augmentation_the_inputs_are_those_of_an_evaluation(preprocessing, photo_folder, photographs, tmp_path):
    """Of CMYK too, which MindSpore and Pillow round otherwise."""
    (tmp_path / "class").mkdir()
    for file in [*photo_folder.glob("*/flower*"), *photo_folder.glob("*/temple*")][:7]:
        (tmp_path / "class" / file.name).write_bytes(file.read_bytes())
    Image.fromarray(photographs[0]).convert("CMYK").save(tmp_path / "class" / "cmyk.jpg")
    source = open_source("folder", tmp_path, split="train")
    shown = by_image(source, preprocessing, augmentation="none")
    evaluated = evaluation_batches(source, preprocessing, batch_size=4, workers=WORKERS)
    assert shown == {
        int(i): image.tobytes() for images, _, indices in evaluated for i, image in zip(indices, images, strict=True)
    }
