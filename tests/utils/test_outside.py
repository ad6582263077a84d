"""What is no regular file is not opened, and a file of another kind is named for what it is."""

import gzip
import os
import pickle
import re
import socket

import pytest

from src.utils.files import no_file
from src.utils.outside import UnfitFileError, open_ours, open_outside, read_outside, what_it_is


@pytest.fixture
def odd(tmp_path):
    """Names that are no files."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
    (tmp_path / "device").symlink_to("/dev/zero")
    return tmp_path


@pytest.mark.parametrize(("name", "kind"), [("pipe", "a named pipe"), ("socket", "a socket"), ("device", "a device")])
def test_what_could_wait_for_ever_is_not_opened(name, kind, odd):
    with pytest.raises(UnfitFileError, match=f"it is {kind}, expected a file"):
        open_outside(odd / name)
    assert no_file(odd / name) == f"is {kind}"


def test_a_folder_is_what_the_system_says(odd):
    with pytest.raises(IsADirectoryError, match="Is a directory"):
        open_outside(odd / "folder")
    assert no_file(odd / "folder") == "is a folder"


def test_a_file_is_read_up_to_a_bound(tmp_path):
    (tmp_path / "a").write_bytes(b"1234")
    assert read_outside(tmp_path / "a", 4) == b"1234"
    with pytest.raises(UnfitFileError, match="it has more than 3 bytes"):
        read_outside(tmp_path / "a", 3)
    with pytest.raises(FileNotFoundError):
        read_outside(tmp_path / "b", 3)
    assert no_file(tmp_path / "b") == no_file(tmp_path / ("x" * 300)) == "does not exist"


def test_our_own_files_are_no_links(odd):
    (odd / "precious").write_text("precious")
    (odd / "link").symlink_to("precious")
    for name, kind in (("link", "a symbolic link"), ("pipe", "a named pipe")):
        with pytest.raises(UnfitFileError, match=f"it is {kind}"):
            open_ours(odd / name, os.O_WRONLY | os.O_TRUNC)
    assert (odd / "precious").read_text() == "precious"
    os.close(open_ours(odd / "new", os.O_WRONLY))
    assert (odd / "new").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n", "a Git LFS pointer.*git lfs pull"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\n <HTML lang='en'>", "a web page"),
        (b'<?xml version="1.0"?><Error>', "a web page"),
        (b"PK\x03\x04....", r"a zip archive, as PyTorch's \.pth and Lightning's.*convert_weights .*/x NAME\.ckpt"),
        (pickle.dumps({"a": 1}, 2), "a Python pickle.*convert_weights"),
        (b'\x40\0\0\0\0\0\0\0{"a":', "a .safetensors file; python -m src.deploy.convert_weights"),
        (b"\x08\x07\x12\x07pytorch\x1a", "an ONNX model; eval_onnx.py takes it"),
        (b"\x0a\x031.1\x12\x09MindSpore*", "a MindIR model"),
        (gzip.compress(b"a", mtime=0), "a gzip archive; unpack it first"),
        (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
        (b"\0" * 2000, "zeros only"),
        (b"\x0a\x2e\x0a\x03a.w\x12", "^$"),
        (b"hello", "^$"),
    ],
)
def test_kinds_of_files(content, found, tmp_path):
    (tmp_path / "x").write_bytes(content)
    assert re.search(found, what_it_is(tmp_path / "x"))
