"""What keys do that are the same in several commands."""

import pytest
from commands import contents, only, write_pictures
from keys.runs import BASE

import eval as evaluation
import train
from src.model_utils import device_adapter
from src.ops.build import kernels
from src.schema.options import COMMANDS
from src.utils.errors import ReportedError, UsageError, run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_steps")]


@pytest.mark.parametrize("command", ["train", "eval"])
def test_on_bad_image(command, tmp_path):
    pictures = write_pictures(tmp_path / "pictures", ("one", "two"), each=3)
    data = ["--dataset", "folder", "--save_ckpt_path", str(tmp_path / "out")]
    run_training = [*BASE, "--per_batch_size", "2", "--train_data_dir", str(pictures)]
    if command == "eval":
        train.main([*run_training, *data])
        checkpoint = str(only(tmp_path / "out") / "0-2_3.ckpt")
    (pictures / "two" / "1.jpg").write_text("not a picture")

    def go(how: str):
        if command == "train":
            return train.main([*run_training, *data, "--on_bad_image", how])
        return evaluation.main(
            ["--ckpt_files", checkpoint, "--eval_data_dir", str(pictures), "--on_bad_image", how, *data]
        )

    with pytest.raises(ReportedError, match=r"two/1\.jpg should be"):
        go("error")
    go("skip")
    assert list(tmp_path.glob(f"out/*/skipped_{command}_images.txt"))


@pytest.mark.parametrize("command", ["train", "eval"])
def test_device_rank_and_group(command, command_line, monkeypatch):
    main, flags = command_line(command)
    with pytest.raises(ReportedError, match="device_target is Ascend"):
        main([*flags, "--device_target", "Ascend"])
    with pytest.raises(UsageError, match="rank 0 of group_size 2 was asked for"):
        main([*flags, "--group_size", "2"])
    with pytest.raises(UsageError, match="rank 1 of group_size 2 was asked for"):
        main([*flags, "--group_size", "2", "--rank", "1"])
    asked = []
    monkeypatch.setattr(device_adapter.ms, "set_device", lambda *device: asked.append(device))
    main([*flags, "--device_id", "3"])
    assert asked == [("CPU", 3)]


@pytest.mark.parametrize("command", ["train", "eval", "predict"])
def test_cpu_precision(command, command_line, capsys):
    main, flags = command_line(command)
    if kernels().has_bf16:
        main([*flags, "--cpu_precision", "bf16"])
        assert f"{kernels().reason}; bf16, {kernels().library}" in capsys.readouterr().out
    else:
        with pytest.raises(ReportedError, match="cpu_precision is bf16"):
            main([*flags, "--cpu_precision", "bf16"])
    main([*flags, "--cpu_precision", "fp32"])
    assert f"{kernels().reason}; fp32, {kernels().library}" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["train", "eval", "eval_onnx"])
def test_save_ckpt_path(command, command_line, tmp_path, monkeypatch):
    main, flags = command_line(command)
    monkeypatch.chdir(tmp_path)
    main(flags)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    main([*flags, "--save_ckpt_path", "elsewhere"])
    assert contents(tmp_path / "elsewhere")


@pytest.mark.parametrize("command", COMMANDS)
def test_debug(command, command_line, capsys):
    main, flags = command_line(command)
    for debug in ("false", "true"):
        assert run(main, [*flags, "--device_target", "GPU", "--debug", debug]) == 1
        assert ("Traceback" in capsys.readouterr().err) == (debug == "true")
