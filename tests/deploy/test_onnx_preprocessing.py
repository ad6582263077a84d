"""The preprocessing inside an ONNX model: the pipeline's bits in every mode, and a whole model of it."""

import json
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

import export
import predict
from src.datasets.plain_batches import network_input
from src.datasets.preprocessing import default_preprocessing
from src.datasets.preprocessing_choices import DECODED
from src.deploy import picture_model
from src.deploy.model import load_model
from src.deploy.onnx_preprocessing import preprocessing_alone
from src.utils.errors import ReportedError

MODES = [
    {},
    {"interpolation": "bicubic"},
    {"resize": "shorter_side"},
    {"resize": "shorter_side", "interpolation": "bicubic", "crop_ratio": 0.9},
    {"resize": "letterbox"},
    {"resize": "letterbox", "interpolation": "bicubic", "crop_ratio": 0.7},
]
# Both smaller and larger than the input, its size, twice that, thin ones, and one whose rows Pillow mixes first.
SHAPES = [(427, 640), (400, 90), (20, 31), (55, 55), (110, 110), (48, 48), (31, 200), (60, 40), (91, 90), (3, 2)]


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("opset", [11, 13])
def test_inputs_are_the_pipeline_s_bit_for_bit(mode, opset, photographs):
    preprocessing = default_preprocessing("folder", 48, **mode)
    model = preprocessing_alone(preprocessing, opset)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for i, (height, width) in enumerate(SHAPES):
        picture = np.ascontiguousarray(photographs[i % 2][:height, :width])
        (found,) = session.run(None, {"pictures": np.stack([picture, picture[::-1]])})
        for image, pixels in zip(found, (picture, np.ascontiguousarray(picture[::-1])), strict=True):
            np.testing.assert_array_equal(image, network_input(pixels, preprocessing, DECODED))


@pytest.fixture(scope="module")
def photographs():
    from sklearn.datasets import load_sample_images

    return load_sample_images().images


@pytest.mark.slow
def test_a_model_that_takes_pictures_answers_as_predict_does(trained_run, photographs, tmp_path):
    target = ["--file_format", "ONNX", "--file_name", str(tmp_path / "whole"), "--include_preprocessing"]
    path = export.main(["--ckpt_file", str(trained_run / "best.ckpt"), *target])
    described = json.loads((tmp_path / "whole.onnx.json").read_text())
    assert (described["input_name"], described["output_name"], described["layout"]) == (
        "pictures", "probabilities", "NHWC"
    )  # fmt: skip
    assert described["verified"]["photographs"] == 12
    assert described["verified"]["largest_difference_of_inputs_in_levels"] == 0
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    model = load_model(trained_run / "best.ckpt")
    for i, picture in enumerate(photographs):
        (found,) = session.run(None, {"pictures": picture[None]})
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
        expected = dict(model.predict(tmp_path / f"{i}.png", top=10))
        assert dict(zip(described["class_names"], found[0].tolist(), strict=True)) == pytest.approx(expected, abs=1e-5)
    with pytest.raises(
        ReportedError, match="includes its preprocessing, for programs that have none; for the commands"
    ):
        predict.main(["--model", str(path), "--images", str(tmp_path / "0.png")])


@pytest.mark.slow
def test_another_preprocessing_than_the_pipeline_s_is_not_kept(trained_run, tmp_path, monkeypatch):
    def other(preprocessing, opset=11):
        return preprocessing_alone(replace(preprocessing, mean=(0.2, 0.2, 0.2)), opset)

    monkeypatch.setattr(picture_model, "preprocessing_alone", other)
    target = ["--file_format", "ONNX", "--file_name", str(tmp_path / "whole"), "--include_preprocessing"]
    with pytest.raises(ReportedError, match=r"own preprocessing differs from the pipeline's by \d+ levels of 255"):
        export.main(["--ckpt_file", str(trained_run / "best.ckpt"), *target])
    assert not list(tmp_path.iterdir())
