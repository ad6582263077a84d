"""ONNX models from anywhere: ONNX Runtime is given the file, and no more of the machine than that."""

import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto

from src.deploy.onnx_session import OnnxModel, provider_of
from src.utils.errors import ReportedError, UsageError

pytestmark = pytest.mark.slow

CPU, GPU = "CPUExecutionProvider", "CUDAExecutionProvider"


@pytest.fixture
def model(exported) -> onnx.ModelProto:
    return onnx.load(exported("--file_format ONNX"))


def weights_elsewhere(model: onnx.ModelProto, path: Path, location: str) -> Path:
    """`model` at `path`, its largest array to be found in the file `location`."""
    tensor = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    length = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("location", ["../secret", "{root}/secret", "link", "beside", "none", "/dev/zero", "", "."])
def test_other_files_are_not_read(location, model, tmp_path, capfd):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(100_000))
    (folder / "beside").write_bytes(bytes(100_000))
    (folder / "link").symlink_to("../secret")
    path = weights_elsewhere(model, folder / "model.onnx", location.format(root=tmp_path))
    with pytest.raises(ReportedError, match=r"model\.onnx cannot be loaded by ONNX Runtime: it is no ONNX model, or"):
        OnnxModel(path, "CPU", 1)
    assert capfd.readouterr() == ("", "")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(ReportedError, match=r"pipe\.onnx is a named pipe"):
        OnnxModel(tmp_path / "pipe.onnx", "CPU", 1)


def test_a_batch_that_does_not_fit_is_one_quiet_sentence(exported, capfd):
    model = OnnxModel(exported("--file_format ONNX"), "CPU", 1)
    with pytest.raises(ReportedError, match=r"model\.onnx fails in ONNX Runtime \(.*; lower --per_batch_size if"):
        model(np.zeros((1, 3, 9, 9), np.float32))
    assert capfd.readouterr() == ("", "")


def test_a_gpu_that_does_not_start_is_an_error(exported, monkeypatch):
    """ONNX Runtime itself would go on with the CPU."""
    real = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [GPU, CPU])
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda path, options, **_: real(path, options, providers=[CPU])
    )
    with pytest.raises(ReportedError, match=r"could not start CUDAExecutionProvider and would have used the CPU"):
        OnnxModel(exported("--file_format ONNX"), "GPU", 1)


@pytest.mark.parametrize(
    ("asked", "available", "expected"),
    [("auto", [CPU], CPU), ("auto", [GPU, CPU], GPU), ("CPU", [GPU, CPU], CPU), ("GPU", [GPU, CPU], GPU)],
)
def test_the_provider_of_a_device(asked, available, expected, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    assert provider_of(asked) == expected


def test_a_device_that_is_not_there_is_an_error(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])
    with pytest.raises(ReportedError, match=r"has no CUDAExecutionProvider \(it has CPUExecutionProvider\); install"):
        provider_of("GPU")
    with pytest.raises(UsageError, match="found device_target Ascend, expected CPU or GPU"):
        provider_of("Ascend")
