"""The description beside a model: what is written comes back, and what is not exactly that is refused."""

import hashlib
import json
import os
from dataclasses import replace

import pytest

from src.datasets.preprocessing import default_preprocessing
from src.deploy.manifest import Manifest, manifest_path, read_manifest, write_manifest
from src.network.architecture import architecture
from src.utils.errors import ReportedError

MANIFEST = Manifest(
    file_format="MINDIR",
    precision="float32",
    batch_size=4,
    dataset="folder",
    architecture=architecture("densenet121", 3),
    preprocessing=default_preprocessing("folder"),
    class_names=("cat", "dog", "塔"),
    mindir_version=3,
    verified={"max_relative_difference": 1e-7},
)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "a model.mindir"
    path.write_bytes(b"weights")
    write_manifest(MANIFEST, path)
    return path


def test_what_is_written_comes_back(model):
    assert manifest_path(model).name == "a model.mindir.json"
    assert read_manifest(model) == MANIFEST


@pytest.mark.parametrize("changes", [{"temperature": 1.5}, {"activation": "sigmoid", "uncertain": "ones"}])
def test_what_only_some_models_have_comes_back_too(changes, tmp_path):
    path = tmp_path / "calibrated.mindir"
    path.write_bytes(b"weights")
    write_manifest(replace(MANIFEST, **changes), path)
    assert read_manifest(path) == replace(MANIFEST, **changes)


def test_of_a_file_whose_name_is_no_utf8(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.mindir")
    path.write_bytes(b"weights")
    write_manifest(MANIFEST, path)
    assert read_manifest(path) == MANIFEST
    assert json.loads(manifest_path(path).read_text())["file"] == "caf\\xe9.mindir"


def test_one_of_the_first_version_means_what_it_meant(model):
    path = manifest_path(model)
    values = json.loads(path.read_text())
    for name in ("resize_mode", "interpolation", "pixels"):
        del values["preprocessing"][name]
    path.write_text(json.dumps(values | {"input": "resize the whole picture to resize x resize"}))
    read = read_manifest(model).preprocessing
    assert read == replace(MANIFEST.preprocessing, pixels="stored")
    assert "ignore the EXIF orientation, drop transparency" in read.in_words()


def test_it_tells_a_stranger_how_to_feed_the_model(model):
    values = json.loads(manifest_path(model).read_text())
    assert values["file"] == "a model.mindir"
    assert values["sha256"] == hashlib.sha256(b"weights").hexdigest()
    assert values["preprocessing"] == {
        "image_size": 224,
        "resize": 256,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "resize_mode": "squash",
        "interpolation": "bilinear",
        "pixels": "shown",
    }
    assert "resize the whole picture to 256 x 256 (bilinear, not antialiased), keep the centre" in values["input"]
    assert (values["input_name"], values["output_name"]) == ("images", "logits")
    assert (values["channel_order"], values["layout"], values["dtype"]) == ("RGB", "NCHW", "float32")


def test_another_model_under_the_name_is_noticed(model):
    model.write_bytes(b"Weights")
    with pytest.raises(ReportedError, match=r"a model.mindir is not the file that a model.mindir.json describes"):
        read_manifest(model)


@pytest.mark.parametrize("missing", ["a model.mindir", "a model.mindir.json"])
def test_either_file_missing_is_named(missing, model):
    (model.parent / missing).unlink()
    with pytest.raises(ReportedError, match=f"there is no file .*/{missing}; export the model"):
        read_manifest(model)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "is no description of format 1"),
        ({"file_format": "TFLITE"}, "file_format is 'TFLITE', expected one of AIR, MINDIR, ONNX"),
        ({"temperature": 0}, "temperature is 0, expected a positive number"),
        ({"temperature": "hot"}, "temperature is 'hot', expected a positive number"),
        ({"precision": ["float32"]}, "precision is .* expected one of float32"),
        ({"batch_size": -1}, "batch_size is -1, expected an integer from 0"),
        ({"batch_size": True}, "batch_size is True, expected an integer from 0"),
        ({"mindir_version": "3"}, "mindir_version is '3', expected an integer"),
        ({"channel_order": "BGR"}, "channel_order is 'BGR', expected 'RGB'"),
        ({"dataset": "secret"}, "dataset is 'secret', expected one of"),
        ({"class_names": "cat"}, "class_names is 'cat', expected a list of names"),
        ({"class_names": ["cat", "dog"]}, "carries 2 class_names for 3 classes"),
        ({"uncertain": ["ones"]}, r"uncertain is \['ones'\], expected one of ignore, zeros, ones"),
        ({"verified": None}, "verified is None, expected a mapping"),
        ({"architecture": "densenet121"}, "network architecture: found str"),
        ({"preprocessing": {}}, "the preprocessing should hold image_size"),
        (
            {"preprocessing": MANIFEST.preprocessing.to_dict() | {"mean": [0, 0, 10**400]}},
            "mean should be three numbers between 0 and 1",
        ),
    ],
)
def test_what_is_not_a_description_is_refused(changes, message):
    with pytest.raises(ReportedError, match=message):
        Manifest.from_text(json.dumps(MANIFEST.to_dict() | changes), "model.json")


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100_000, "null"])
def test_what_is_no_json_object_is_refused(text):
    with pytest.raises(ReportedError, match=r"^model\.json is no"):
        Manifest.from_text(text, "model.json")


def test_only_a_mindir_has_a_version():
    manifest = replace(MANIFEST, file_format="ONNX", mindir_version=None)
    assert "mindir_version" not in manifest.to_dict()
    assert Manifest.from_text(json.dumps(manifest.to_dict()), "x") == manifest
