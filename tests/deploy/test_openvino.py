"""ONNX exports in OpenVINO, which has NumPy 2: OPENVINO_PYTHON names the Python of an environment of its own."""

import os
import subprocess

import numpy as np
import pytest
from test_export import reference  # noqa: F401 - a fixture

from scripts.benchmarks.open_vino import VARIABLE
from src.deploy.onnx_session import OnnxModel

PROGRAM = """
import sys
import numpy as np, openvino as ov
core = ov.Core()
compiled = core.compile_model(core.read_model(sys.argv[1]), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
np.save(sys.argv[3], compiled([np.load(sys.argv[2])])[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get(VARIABLE), reason=f"{VARIABLE} names no Python that has OpenVINO")
@pytest.mark.parametrize("flags", ["--file_format ONNX", "--file_format ONNX --quantize --calibration_images 40"])
def test_openvino_answers_as_onnx_runtime(flags, exported, reference, tmp_path):  # noqa: F811
    images, model = reference[0], exported(flags)
    expected = OnnxModel(model, "CPU", 1)(images)
    np.save(tmp_path / "images.npy", images)
    command = [os.environ[VARIABLE], "-c", PROGRAM, model, tmp_path / "images.npy", tmp_path / "logits.npy"]
    subprocess.run(command, check=True, timeout=100)
    found = np.load(tmp_path / "logits.npy")
    largest = np.abs(expected).max()
    tolerance = 0.05 if "quantize" in flags else 1e-4
    assert np.abs(found - expected).max() < tolerance * largest
    assert (found.argmax(1) == expected.argmax(1)).mean() > 0.98
