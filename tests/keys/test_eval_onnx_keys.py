"""What the keys of eval_onnx.py alone do, and those that work in another way in it."""

import onnxruntime
import pytest
from commands import FEW_HELD_OUT, write_pictures
from keys.runs import ONNX, predictions

import eval_onnx
from src.utils.errors import ReportedError, UsageError

pytestmark = pytest.mark.slow


def test_eval_onnx_on_bad_image(exported, tmp_path, capsys):
    """Of a data set, and of a user's own pictures."""
    pictures = write_pictures(tmp_path / "pictures", ("0", "1"), each=3)
    (pictures / "1" / "1.jpg").write_text("not a picture")
    argv = ["--ckpt_files", str(exported(ONNX).path), "--save_ckpt_path", str(tmp_path / "out")]
    data = ["--dataset", "folder", "--eval_data_dir", str(pictures)]
    for flags in (data, ["--images", str(pictures / "1")]):
        with pytest.raises(ReportedError, match=r"1/1\.jpg should be"):
            eval_onnx.main([*argv, *flags, "--on_bad_image", "error"])
    assert eval_onnx.main([*argv, *data, "--on_bad_image", "skip"]).seen == 5
    capsys.readouterr()
    eval_onnx.main([*argv, "--images", str(pictures / "1"), "--on_bad_image", "skip"])
    skipped, *answers = capsys.readouterr().out.splitlines()
    assert "WARNING:skipped: " in skipped
    assert [line.split(":")[0] for line in answers] == ["0.jpg", "2.jpg"]


def test_eval_onnx_device(command_line, monkeypatch):
    """The asked-for device or an error, never another one; device_id chooses among the GPUs."""
    main, flags = command_line("eval_onnx")
    with pytest.raises(UsageError, match="found device_target Ascend, expected CPU or GPU"):
        main([*flags, "--device_target", "Ascend"])
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    asked = []

    def session(path, options, providers):
        asked.append(providers)
        return real(path, options, providers=["CPUExecutionProvider"])

    real = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    for device in ([], ["--device_target", "GPU", "--device_id", "3"]):
        with pytest.raises(ReportedError, match="could not start CUDAExecutionProvider and would have used the CPU"):
            main([*flags, *device])
    assert asked == [[("CUDAExecutionProvider", {"device_id": number})] for number in ("0", "3")]


def test_eval_onnx_refuses_another_net(command_line):
    main, flags = command_line("eval_onnx")
    main([*flags, "--net", "densenet100"])
    with pytest.raises(UsageError, match=r"net is densenet121, but .*model\.onnx is a densenet100; leave --net out"):
        main([*flags, "--net", "densenet121"])


def test_eval_onnx_images(command_line, tmp_path, capsys):
    main, flags = command_line("eval_onnx")
    pictures = write_pictures(tmp_path / "pictures", ("one",), each=2)
    capsys.readouterr()
    for path, count in ((pictures / "one", 2), (pictures / "one" / "1.jpg", 1)):
        assert main([*flags, "--images", str(path)]) is None
        assert capsys.readouterr().out.count(".jpg: ") == count
    assert not (tmp_path / "out").exists()
    assert main(flags).seen == FEW_HELD_OUT


def test_eval_onnx_ckpt_files_and_predictions(exported, tmp_path):
    """Another model gives other answers."""
    answers = []
    for name, flags in (("one", ONNX), ("other", f"{ONNX} --ckpt_file {{pretrained}}")):
        (tmp_path / name).mkdir()
        answers.append(predictions(exported(flags).path, tmp_path / name, main=eval_onnx.main))
    assert answers[0] != answers[1]
    quiet = ["--ckpt_files", str(exported(ONNX).path), "--save_ckpt_path", str(tmp_path / "quiet")]
    eval_onnx.main(quiet)
    assert not list((tmp_path / "quiet").glob("**/predictions*"))
