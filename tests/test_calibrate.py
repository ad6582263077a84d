"""eval.py --calibrate: the checkpoint it writes, and that all that is made of it has the temperature."""

import re
from dataclasses import replace

import numpy as np
import pytest
from commands import only, write_pictures
from shared import made_once

import eval as evaluation
import export
from src.datasets.pictures import open_pictures
from src.deploy.manifest import read_manifest
from src.deploy.model import load_model
from src.model_utils.group import ALONE
from src.training.calibrated import CALIBRATED_NAME
from src.utils.checkpoint import load_checkpoint
from src.utils.errors import ReportedError, UsageError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory, trained_run):
    """The calibrated checkpoint, in the results of its evaluation."""

    def make(folder):
        evaluation.main(
            ["--ckpt_files", str(trained_run / "best.ckpt"), "--calibrate", "--save_ckpt_path", str(folder / "out")]
        )

    return only(made_once(tmp_path_factory, "calibrated", make) / "out") / CALIBRATED_NAME


@pytest.fixture(scope="module")
def exact(tmp_path_factory, calibrated):
    """name -> file: models exported from it."""

    def make(folder):
        for name, flags in (("onnx", []), ("half", ["--export_fp16", "true"])):
            target = ["--file_format", "ONNX", "--file_name", str(folder / name)]
            export.main(["--ckpt_file", str(calibrated), *target, *flags])
        target = ["--file_format", "ENGINE", "--file_name", str(folder / "calibrated")]
        export.main(["--ckpt_file", str(calibrated), *target])

    folder = made_once(tmp_path_factory, "calibrated_models", make)
    return {"onnx": folder / "onnx.onnx", "fp16": folder / "half.onnx", "engine": folder / "calibrated.engine"}


def test_the_log_says_what_it_is_worth(calibrated, trained_run):
    log = (calibrated.parent / "eval.log").read_text()
    line = re.search(r"calibrated on 355 images: temperature (\S+), .* loss (\S+) -> (\S+),.*: (.*)$", log, re.M)
    temperature, before, after = map(float, line.groups()[:3])
    checkpoint = load_checkpoint(calibrated)
    assert checkpoint.metadata["temperature"] == pytest.approx(temperature, abs=1e-4)
    assert f"eval loss:{before:.4f} over 355 images" in log
    assert after < before
    assert line[4] == str(calibrated)
    assert "progress" not in checkpoint.metadata
    original = load_checkpoint(trained_run / "best.ckpt")
    assert "temperature" not in original.metadata
    assert all(np.array_equal(value, original.arrays[name]) for name, value in checkpoint.arrays.items())


def test_an_evaluation_has_the_loss_that_was_told_and_the_same_answers(calibrated, tmp_path):
    told = re.search(r"loss \S+ -> ([\d.]+),", (calibrated.parent / "eval.log").read_text())[1]
    (accuracy,) = evaluation.main(["--ckpt_files", str(calibrated), "--save_ckpt_path", str(tmp_path)]).values()
    assert f"{accuracy.loss:.4f}" == told
    assert accuracy.lines()[0] in (calibrated.parent / "eval.log").read_text()


def test_every_model_file_has_it(calibrated, exact, trained_run, tmp_path):
    """Logits are those of the network divided by the temperature; the heat is the network's own."""
    pictures = open_pictures(write_pictures(tmp_path / "pictures", ("3",), each=4) / "3")
    temperature = load_checkpoint(calibrated).metadata["temperature"]
    heats, probabilities = {}, {}
    for name, file in {"plain": trained_run / "best.ckpt", "calibrated": calibrated, **exact}.items():
        model = load_model(file, heat_maps=True)
        found = list(model.answers(pictures, top=10, batch_size=4, workers=1, with_heat=True))
        heats[name] = np.stack([answer.heat for answer in found])
        probabilities[name] = np.stack([answer.probabilities[np.argsort(answer.classes)] for answer in found])
    powers = probabilities["plain"] ** (1 / temperature)
    expected = powers / powers.sum(1, keepdims=True)
    assert np.abs(expected - probabilities["plain"]).max() > 1e-3
    for name, tolerance in (("calibrated", 1e-5), ("onnx", 1e-5), ("engine", 1e-5), ("fp16", 1e-3)):
        np.testing.assert_allclose(probabilities[name], expected, atol=tolerance)
        np.testing.assert_allclose(heats[name], heats["plain"], atol=max(tolerance, 1e-4) * heats["plain"].max() * 20)
    assert read_manifest(exact["onnx"]).temperature == temperature


def test_it_can_be_calibrated_again(calibrated, tmp_path):
    """Nothing is left to mend: the temperature stays."""
    evaluation.main(["--ckpt_files", str(calibrated), "--calibrate", "--save_ckpt_path", str(tmp_path)])
    again = load_checkpoint(only(tmp_path) / CALIBRATED_NAME).metadata["temperature"]
    assert again == pytest.approx(load_checkpoint(calibrated).metadata["temperature"], rel=1e-3)


def test_training_does_not_go_on_from_it(calibrated, tmp_path):
    import train

    with pytest.raises(ReportedError, match="carries no progress"):
        train.main(["--resume", str(calibrated), "--save_ckpt_path", str(tmp_path)])


def test_ranks_are_refused(monkeypatch, trained_run, tmp_path):
    """Each would have a part of the images."""
    monkeypatch.setattr(evaluation, "join_group", lambda *_: (replace(ALONE, world_size=2), "of two"))
    with pytest.raises(UsageError, match="--calibrate is the work of a single process"):
        evaluation.main(
            ["--ckpt_files", str(trained_run / "best.ckpt"), "--calibrate", "--save_ckpt_path", str(tmp_path)]
        )
