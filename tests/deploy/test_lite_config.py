"""What MindSpore Lite's converter would be given. It is not here itself: a stand-in shows how it is called."""

import configparser
import json
import os
import subprocess

import numpy as np
import pytest
from commands import ROOT, write_pictures
from PIL import Image

from src.datasets.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, default_preprocessing
from src.datasets.sources import open_source
from src.deploy import lite_config
from src.deploy.manifest import Manifest
from src.network.architecture import architecture
from src.utils.errors import UsageError

CLASSES = ("a", "b")


def description(folder, dataset="digits", classes=tuple("0123456789"), preprocessing=None):
    preprocessing = preprocessing or default_preprocessing(dataset)
    arch = architecture("densenet100", len(classes))
    manifest = Manifest("MINDIR", "float32", 1, dataset, arch, preprocessing, classes, mindir_version=1)
    path = folder / "model.mindir.json"
    path.write_text(json.dumps({"file": "model.mindir", "sha256": "0" * 64, **manifest.to_dict()}))
    return str(path)


def read(folder):
    found = configparser.ConfigParser()
    found.read(folder / "quantize.cfg")
    return found


def test_digits_become_pictures_that_the_converter_prepares_as_the_model_wants(tmp_path):
    folder = tmp_path / "calibration"
    lite_config.main([description(tmp_path), str(folder), "--images", "20"])
    fields = read(folder)["data_preprocess_param"]
    assert fields["calibrate_path"] == f"images:{folder}/pictures" and fields["calibrate_size"] == "20"
    assert fields["normalize_mean"] == "[77.877, 77.877, 77.877]" and fields["resize_width"] == "32"
    assert "center_crop_width" not in fields and read(folder)["common_quant_param"]["quant_type"] == "FULL_QUANT"
    written = {np.asarray(Image.open(path)).tobytes() for path in (folder / "pictures").iterdir()}
    training = open_source("digits", "", split="train")
    assert len(written) >= 19 and written <= {training.read(i).tobytes() for i in range(len(training))}
    with pytest.raises(UsageError, match="calibration"):
        lite_config.main([description(tmp_path), str(folder)])


def test_files_stay_as_they_are_and_are_cut_by_the_converter(tmp_path):
    data, folder = write_pictures(tmp_path / "data", CLASSES, 3), tmp_path / "calibration"
    path = description(tmp_path, "folder", CLASSES, Preprocessing(28, 32, IMAGENET_MEAN, IMAGENET_STD))
    lite_config.main([path, str(folder), "--train_data_dir", str(data), "--images", "6"])
    fields = read(folder)["data_preprocess_param"]
    assert (fields["resize_height"], fields["center_crop_height"], fields["image_to_format"]) == ("32", "28", "RGB")
    written = {path.read_bytes() for path in (folder / "pictures").glob("*.jpg")}
    assert written == {path.read_bytes() for path in data.rglob("*.jpg")}


@pytest.mark.parametrize(
    ("flags", "message"), [(["--images", "0"], "from 1 to 65535"), (["--images", "5000"], "there are 1442 training")]
)
def test_other_numbers_of_pictures_are_refused(tmp_path, flags, message):
    with pytest.raises(UsageError, match=message):
        lite_config.main([description(tmp_path), str(tmp_path / "made"), *flags])
    assert not (tmp_path / "made").exists()


def test_a_path_that_the_file_cannot_hold_is_refused(tmp_path):
    with pytest.raises(UsageError, match="comma or a colon"):
        lite_config.main([description(tmp_path), str(tmp_path / "a,b")])


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ([], 2, "usage: "),
        (["model.air", "x"], 2, "expected a .mindir or .onnx file"),
        (["none.mindir", "x"], 1, "there is no file "),
        (["model.mindir", "there"], 2, "exists; choose another name"),
        (["model.mindir", "x", "no.cfg"], 1, "no.cfg; write it with python -m src.deploy.lite_config"),
        (["model.mindir", "x"], 1, "error: there is no converter: LITE_HOME is ''"),
    ],
)
def test_the_script_refuses(tmp_path, words, status, message):
    (tmp_path / "model.mindir").touch()
    (tmp_path / "there.ms").touch()
    environment = {name: value for name, value in os.environ.items() if name != "LITE_HOME"}
    command = ["bash", ROOT / "scripts/convert_lite.sh", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == status and message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_script_becomes_the_converter(tmp_path):
    converter = tmp_path / "lite/tools/converter/converter/converter_lite"
    converter.parent.mkdir(parents=True)
    converter.write_text('#!/bin/sh\necho "called with $* $LD_LIBRARY_PATH"\nexit 5\n')
    converter.chmod(0o755)
    (tmp_path / "model.onnx").touch()
    (tmp_path / "q.cfg").touch()
    done = subprocess.run(
        ["bash", ROOT / "scripts/convert_lite.sh", "model.onnx", "made.ms", "q.cfg"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"LITE_HOME": str(tmp_path / "lite")},
    )  # fmt: skip
    expected = f"--fmk=ONNX --modelFile={tmp_path}/model.onnx --outputFile={tmp_path}/made --saveType=MINDIR_LITE"
    assert done.returncode == 5 and f"called with {expected} --configFile={tmp_path}/q.cfg" in done.stdout
    assert f"{tmp_path}/lite/tools/converter/lib" in done.stdout
