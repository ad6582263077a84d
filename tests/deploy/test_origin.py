"""The geometry of weights from elsewhere: read from timm's descriptions, and against torchvision's own transforms."""

import json

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from src.datasets.classification import evaluation_batches
from src.datasets.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from src.datasets.preprocessing_choices import DECODED
from src.datasets.source import Source
from src.deploy.origin import TORCHVISION, origin_of, timm_preprocessing
from src.utils.errors import ReportedError

CFG = {
    "input_size": [3, 224, 224],
    "interpolation": "bicubic",
    "crop_pct": 0.9,
    "crop_mode": "center",
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.2, 0.1],
    "num_classes": 1000,
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, (224, 248, "shorter_side", "bicubic")),
        ({"crop_pct": 0.875}, (224, 256, "shorter_side", "bicubic")),
        ({"crop_pct": 0.95, "input_size": [3, 288, 288]}, (288, 303, "shorter_side", "bicubic")),
        ({"crop_mode": "squash", "interpolation": "bilinear", "crop_pct": 1.0}, (224, 224, "squash", "bilinear")),
    ],
)
def test_of_timm(change, expected):
    found = timm_preprocessing(CFG | change)
    assert (found.image_size, found.resize, found.resize_mode, found.interpolation) == expected
    assert (found.mean, found.std, found.pixels) == ((0.5, 0.4, 0.3), (0.2, 0.2, 0.1), "shown")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crop_pct": "0.9"}, "crop_pct should be a number from 0.1 to 1, found '0.9'"),
        ({"crop_pct": 0}, "crop_pct should be a number from 0.1 to 1, found 0"),
        ({"input_size": [3, 224, 256]}, r"input_size should be \[3 or 1, S, S\]"),
        ({"interpolation": "lanczos"}, "interpolation should be bilinear or bicubic, found 'lanczos'"),
        ({"crop_mode": "border"}, "crop_mode should be center or squash, found 'border'"),
        ({"mean": None}, "mean should be three numbers"),
        ({"input_size": [1, 224, 224]}, "mean has 3 values for 1 channels"),
    ],
)
def test_odd_descriptions_are_refused(change, message):
    with pytest.raises(ReportedError, match=message):
        timm_preprocessing(CFG | change)


def test_a_config_beside_the_weights_is_found_and_another_can_be_named(tmp_path):
    weights = tmp_path / "model.safetensors"
    assert origin_of(weights, None)[0] == TORCHVISION
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "densenet121", "pretrained_cfg": CFG}))
    assert origin_of(weights, None)[0] == timm_preprocessing(CFG)
    (tmp_path / "other.json").write_text(json.dumps(CFG | {"crop_pct": 0.95}))
    assert origin_of(weights, tmp_path / "other.json")[0].resize == 235
    (tmp_path / "config.json").write_text('{"model_type": "densenet"}')
    assert origin_of(weights, None)[0] == TORCHVISION
    (tmp_path / "config.json").write_text("[")
    with pytest.raises(ReportedError, match=r"config.json is not JSON .*; expected timm's config.json"):
        origin_of(weights, None)


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_inputs_are_those_of_torchvision(interpolation):
    """Of 50 photographs of many shapes. timm's evaluation is made of the same transforms."""
    from scripts.benchmarks.torchvision_beside_cpu import torchvision

    transforms = torchvision.transforms
    mode = transforms.InterpolationMode(interpolation)
    theirs = transforms.Compose(
        [
            transforms.Resize(248, mode),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    random = np.random.default_rng(0)
    photographs = load_sample_images().images
    crops = []
    for i in range(50):
        top, left = random.integers(0, 200), random.integers(0, 400)
        height, width = random.integers(90, 428 - top), random.integers(90, 641 - left)
        crops.append(np.ascontiguousarray(photographs[i % 2][top : top + height, left : left + width]))
    source = Source("folder", ("any",), np.zeros(50, np.int32), DECODED, crops.__getitem__, str)
    ours = Preprocessing(224, 248, IMAGENET_MEAN, IMAGENET_STD, "shorter_side", interpolation)
    (batch,) = evaluation_batches(source, ours, batch_size=50, workers=2)
    expected = np.stack([theirs(Image.fromarray(crop)).numpy() for crop in crops])
    difference = np.abs(batch[0] - expected)
    assert (difference < 1 / 255).mean() > 0.999
    assert difference.max() < 1e-5
