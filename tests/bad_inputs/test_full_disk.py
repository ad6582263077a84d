"""What a disk can do to a run or an export: one clear line on stderr, and nothing that is not whole."""

import pytest
from bad_inputs.command_line import assert_one_line
from commands import TINY, only

import export
from src.deploy import manifest as deploy_manifest
from src.utils.errors import ReportedError


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "file"),
    [(100, "train.log"), (500, "config.yaml"), (3000, "preview.png"), (22_000, "0-1_5.ckpt"), (40_000, "curves.png")],
)
def test_full_disk(limit, file, tmp_path, forked):
    """A limit on the size of files stands in for it: what can still be written is whole, what cannot is not there."""
    done = forked.run("train", [*TINY, "--save_ckpt_path", tmp_path], tmp_path, max_file_size=limit, drawn=True)
    assert done.returncode == 1
    assert_one_line(done.stderr, file)
    assert "File too large" in done.stderr
    if file in ("train.log", "config.yaml"):
        assert not list(tmp_path.iterdir())  # a start that fails leaves no run folder
        return
    assert not list(only(tmp_path).glob("*tmp*"))
    assert all(path.stat().st_size <= limit for path in only(tmp_path).iterdir())
    assert not (only(tmp_path) / file).exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "flags"),
    [
        (1000, "--file_format ONNX"),  # MindSpore's own writing
        (15_500, "--file_format ONNX"),
        (16_000, "--file_format ONNX --quantize"),
        (19_000, "--file_format ONNX --quantize"),
        (50_000, "--file_format MINDIR"),
        (50_000, "--file_format MINDIR --mindir_version 1"),
    ],
)
def test_full_disk_leaves_no_model(limit, flags, trained_run, tmp_path, monkeypatch, forked):
    for folder in ("out", "temporary"):
        (tmp_path / folder).mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    argv = ["--ckpt_file", trained_run / "best.ckpt", *flags.split(), "--file_name", tmp_path / "out" / "model"]
    done = forked.run("export", argv, tmp_path, max_file_size=limit)
    assert done.returncode == 1
    assert_one_line(done.stderr, "free the disk or ")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "temporary"]


@pytest.mark.slow
def test_a_model_without_its_description_is_not_left(trained_run, tmp_path, monkeypatch):
    def refuse(*_):
        raise ReportedError("no room")

    monkeypatch.setattr(deploy_manifest, "write_text_atomically", refuse)
    with pytest.raises(ReportedError, match="no room"):
        export.main(["--ckpt_file", str(trained_run / "best.ckpt"), "--file_name", str(tmp_path / "model")])
    assert list(tmp_path.iterdir()) == []


def test_a_temporary_folder_that_mindspore_cannot_write_to(trained_run, tmp_path, monkeypatch):
    (tmp_path / "my files").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "my files"))
    with pytest.raises(ReportedError, match=r"the temporary folder is .*/my files/.* set TMPDIR to another one"):
        export.main(["--ckpt_file", str(trained_run / "best.ckpt"), "--file_name", str(tmp_path / "model")])
    assert [path.name for path in tmp_path.rglob("*")] == ["my files"]
