"""What files that are not what their readers expect are called, among pictures and in the place of a model."""

import gzip
import pickle
import re

import pytest
from file_kinds import FILES

from src.utils.file_kind import begins_as_photo, kind_of_file, what_it_is


@pytest.mark.parametrize(("kind", "data"), FILES.items())
def test_a_file_is_called_what_it_is_and_what_to_do_is_said(kind, data):
    found, remedy = kind_of_file(data).split("; ")
    assert found.startswith(kind)
    assert remedy


@pytest.mark.parametrize(
    "data", [b"", b"no picture", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"{cut", b"ftyp", bytes(7) + b"\1"]
)
def test_what_is_not_known_is_not_guessed(data):
    assert kind_of_file(data) is None


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n", "a Git LFS pointer.*git lfs pull"),
        (b"<!DOCTYPE html><html>", "an HTML page"),
        (b"\n <HTML lang='en'>", "an HTML page, which a server sent.*download it again"),
        (b'<?xml version="1.0"?><Error>', "an XML text"),
        (
            b"PK\x03\x04....",
            r"a ZIP archive; if it holds weights, as PyTorch's.*convert_weights .*/x NAME\.ckpt",
        ),
        (pickle.dumps({"a": 1}, 2), "a Python pickle.*convert_weights"),
        (b'\x40\0\0\0\0\0\0\0{"a":', "a .safetensors file; python -m src.deploy.convert_weights"),
        (
            b'\x40\0\0\0\0\0\0\0{"__metadata__":{"densenet_manifest":',
            "a file of the CPU engine; predict.py and eval.py",
        ),
        (b"\x08\x07\x12\x07pytorch\x1a", "an ONNX model; eval_onnx.py and predict.py take it"),
        (b"\x0a\x031.1\x12\x09MindSpore*", "a MindIR model"),
        (gzip.compress(b"a", mtime=0), "a gzip archive; unpack it"),
        (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
        (b"\0" * 2000, "nothing but zero bytes; copy or download it again"),
        (b"\x0a\x2e\x0a\x0bhead.fc.bias\x12"[:17], "a MindSpore checkpoint; eval.py, export.py and predict.py take it"),
        (b"hello", "^$"),
    ],
)
def test_kinds_of_files(content, found, tmp_path):
    (tmp_path / "x").write_bytes(content)
    assert re.search(found, what_it_is(tmp_path / "x"))


def test_a_phones_picture_is_one_and_a_sound_is_none():
    assert all(
        begins_as_photo(FILES[f"{name} picture"]) for name in ("a GIF", "a WebP", "a HEIC", "an AVIF", "a JPEG XL")
    )
    assert not any(
        begins_as_photo(data) for data in (b"RIFF\0\0\0\0WAVEfmt ", FILES["a video"], FILES["a PDF document"], b"")
    )
