"""What the keys of predict.py do that it shares with other commands and uses in another way."""

import pytest
from keys.runs import ONNX

from src.deploy import checkpoint_model
from src.model_utils import device_adapter
from src.utils.errors import ReportedError, UsageError

pytestmark = pytest.mark.slow


def test_predict_device(command_line, exported, monkeypatch):
    """The asked-for device or an error, of a checkpoint and of an ONNX model."""
    main, flags = command_line("predict")
    with pytest.raises(ReportedError, match="device_target is Ascend"):
        main([*flags, "--device_target", "Ascend"])
    with pytest.raises(UsageError, match="found device_target Ascend, expected CPU or GPU"):
        main([*flags, "--model", str(exported(ONNX).path), "--device_target", "Ascend"])
    asked = []
    monkeypatch.setattr(device_adapter.ms, "set_device", lambda *device: asked.append(device))
    main([*flags, "--device_id", "3"])
    assert asked == [("CPU", 3)]


def test_predict_cpu_kernels(command_line, capsys):
    main, flags = command_line("predict")
    for choice, said in (("on", "the C++ kernels are used"), ("off", "")):
        capsys.readouterr()
        assert main([*flags, "--cpu_kernels", choice])
        assert ("the C++ kernels are used" in capsys.readouterr().out) == bool(said)


def test_predict_graph_cache(command_line, monkeypatch):
    """What it is worth: tests/utils/test_graph_cache.py."""
    asked = []
    monkeypatch.setattr(checkpoint_model, "open_graph_cache", lambda *how: asked.append(how))
    main, flags = command_line("predict")
    for choice in ("auto", "on", "off"):
        main([*flags, "--graph_cache", choice])
    assert asked == [(choice, "CPU") for choice in ("auto", "on", "off")]


def test_predict_config_path(command_line, tmp_path):
    main, flags = command_line("predict")
    (tmp_path / "two.yaml").write_text("top: 2\n")
    assert {len(best) for _, best in main([*flags, "--config_path", str(tmp_path / "two.yaml")])} == {2}


def test_predict_weights(command_line, places):
    main, flags = command_line("predict")
    flags = [*flags, "--model", places["averaged"]]
    raw, ema, auto = (main([*flags, "--weights", weights]) for weights in ("raw", "ema", "auto"))
    assert raw != ema == auto
