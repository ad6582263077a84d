"""What atc is called with, and what it is not called for."""

import dataclasses
import hashlib
import json
import os
import re
import subprocess

import pytest
from commands import ROOT

from src.datasets.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from src.deploy import aipp, om_flags
from src.deploy.manifest import Manifest
from src.network.architecture import architecture
from src.utils.errors import ReportedError, UsageError

MANIFEST = Manifest(
    *("ONNX", "float32", 0, "imagenet", architecture("densenet121", 3)),
    *(Preprocessing(224, 256, IMAGENET_MEAN, IMAGENET_STD), ("a", "b", "c")),
)


@pytest.fixture
def model(tmp_path):
    """A file with a description; what is in it only atc would read."""

    def write(**changed):
        path = tmp_path / "model.onnx"
        path.write_bytes(b"a model")
        manifest = dataclasses.replace(MANIFEST, **changed).to_dict()
        digest = hashlib.sha256(b"a model").hexdigest()
        (tmp_path / "model.onnx.json").write_text(json.dumps({"file": path.name, "sha256": digest, **manifest}))
        return path

    return write


def asked(capsys, *words):
    om_flags.main([str(word) for word in words])
    return capsys.readouterr().out.splitlines()


def test_flags_of_an_onnx_model_with_aipp(model, tmp_path, capsys):
    path, config = model(), tmp_path / "aipp.config"
    aipp.main([f"{path}.json", str(config)])
    capsys.readouterr()
    found = asked(capsys, path, tmp_path / "made.om", "Ascend310P3", "--aipp", config, "--batch_size", 8)
    assert found == [
        *("--framework=5", f"--model={path}", f"--output={tmp_path}/made", "--soc_version=Ascend310P3", "--log=error"),
        *("--input_format=NCHW", "--input_shape=images:8,3,224,224", f"--insert_op_conf={config}"),
    ]


def test_an_air_model_has_its_own_shape(model, tmp_path, capsys):
    found = asked(capsys, model(file_format="AIR", batch_size=4), tmp_path / "made", "Ascend910B1")
    assert "--framework=1" in found and not any("input_shape" in flag for flag in found)


@pytest.mark.parametrize(
    ("changed", "words", "error", "message"),
    [
        ({"file_format": "MINDIR"}, [], ReportedError, "atc reads ONNX and AIR"),
        ({"precision": "int8"}, [], ReportedError, "quantized for ONNX Runtime"),
        ({"batch_size": 4}, ["--batch_size", "8"], UsageError, "takes 4 images at once, but --batch_size is 8"),
        ({}, ["--batch_size", "-1"], UsageError, "expected a number from 1"),
        ({}, ["--aipp", "no file"], ReportedError, "no file cannot be read"),
        ({}, ["--aipp", __file__], ReportedError, "no AIPP configuration"),
    ],
)
def test_what_atc_would_refuse_is_refused_before(model, tmp_path, changed, words, error, message):
    with pytest.raises(error, match=message):
        om_flags.main([str(model(**changed)), str(tmp_path / "made"), "Ascend310P3", *words])


def test_other_chips_outputs_and_configurations_are_refused(model, tmp_path):
    path, config = model(), tmp_path / "aipp.config"
    with pytest.raises(UsageError, match="SOC_VERSION is 'gpu'"):
        om_flags.main([str(path), str(tmp_path / "made"), "gpu"])
    (tmp_path / "made.om").touch()
    with pytest.raises(UsageError, match=r"made\.om"):
        om_flags.main([str(path), str(tmp_path / "made"), "Ascend310P3"])
    aipp.main([f"{path}.json", str(config)])
    other = model(preprocessing=Preprocessing(128, 128, IMAGENET_MEAN, IMAGENET_STD))
    with pytest.raises(ReportedError, match="makes pictures of 224 pixels a side, but the model takes 128"):
        om_flags.main([str(other), str(tmp_path / "new"), "Ascend310P3", "--aipp", str(config)])


@pytest.mark.parametrize("source", ["rgb", "bgr", "nv12"])
def test_a_configuration_of_the_model_is_taken_whatever_its_pictures_arrive_as(model, tmp_path, source):
    path, config = model(), tmp_path / "aipp.config"
    aipp.main([f"{path}.json", str(config), "--input", source])
    assert om_flags.check_aipp(config, om_flags.read_manifest(path)) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [("mean_chn_1", "121"), ("min_chn_0", "2"), ("var_reci_chn_2", "0.0039"), ("mean_chn_0", "x"),
     ("input_format", "YUV400_U8")],
)  # fmt: skip
def test_a_configuration_that_normalises_for_another_model_is_refused(model, tmp_path, field, value):
    path, config = model(), tmp_path / "aipp.config"
    aipp.main([f"{path}.json", str(config)])
    text, count = re.subn(rf"(?m)^(    {field}: ).*$", rf"\g<1>{value}", config.read_text())
    assert count == 1
    config.write_text(text)
    with pytest.raises(ReportedError, match="cuts or normalises otherwise than the model's"):
        om_flags.main([str(path), str(tmp_path / "made"), "Ascend310P3", "--aipp", str(config)])


def test_the_numbers_of_a_dynamic_configuration_are_the_programs(model, tmp_path):
    path, config = model(), tmp_path / "aipp.config"
    aipp.main([f"{path}.json", str(config), "--mode", "dynamic"])
    assert om_flags.check_aipp(config, om_flags.read_manifest(path)) is None


@pytest.mark.slow
def test_the_script_shows_the_command_and_says_that_atc_is_missing_or_becomes_it(model, tmp_path):
    path = model()
    command = ["bash", ROOT / "scripts/convert_om.sh", path, tmp_path / "made", "Ascend310P3", "-", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    shown = f"atc --framework=5 --model={path} --output={tmp_path}/made --soc_version=Ascend310P3"
    assert done.returncode == 1 and shown in done.stdout
    assert done.stderr.startswith("error: atc was not found; ") and len(done.stderr.splitlines()) == 1
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/atc").write_text('#!/bin/sh\necho "called with $*"\nexit 7\n')
    (tmp_path / "bin/atc").chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 7 and "called with --framework=5" in done.stdout


@pytest.mark.parametrize(("words", "message"), [([], "usage: "), (["a", "b", "c", "-", "0"], "BATCH_SIZE is '0'")])
def test_wrong_usage_of_the_script(words, message):
    command = ["bash", ROOT / "scripts/convert_om.sh", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and message in done.stderr
