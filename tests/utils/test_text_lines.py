"""Text of any size, in parts, and nothing endless."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from src.utils import text_lines
from src.utils.errors import ReportedError
from src.utils.text_lines import MAX_LINE, read_lines

ROOT = Path(__file__).parents[2]


def lines(path) -> list[tuple[int, bytes]]:
    return [(number + i, line) for number, part in read_lines(path, str(path), "lines") for i, line in enumerate(part)]


@pytest.mark.parametrize("block", [1, 2, 3, 7, 2**24])
@pytest.mark.parametrize(
    "text", ["a\nb\n\nc", "a\r\nb\r\n\r\nc\r\n", "a\rb\r\rc\r", "\ufeffa\nb\n\nc\n", "ä\n塔 塔\n\nü\u2028ü"]
)
def test_lines_are_those_that_python_reads_however_they_are_cut(text, block, tmp_path, monkeypatch):
    monkeypatch.setattr(text_lines, "_BLOCK", block)
    path = tmp_path / "text"
    path.write_bytes(text.encode())
    expected = path.read_text("utf-8-sig").removesuffix("\n").split("\n")
    assert lines(path) == [(i, line.encode()) for i, line in enumerate(expected, 1)]


def test_what_is_no_text(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"a\n\xff\n")
    with pytest.raises(ReportedError, match="text is not UTF-8 text; expected lines"):
        lines(path)
    path.write_bytes(b"a\n" + bytes(MAX_LINE + 1))
    with pytest.raises(ReportedError, match=f"text line 2 is longer than {MAX_LINE} bytes; expected lines"):
        lines(path)
    os.mkfifo(tmp_path / "pipe")
    for name in (tmp_path / "pipe", tmp_path, tmp_path / "none", Path("/dev/zero")):
        with pytest.raises(ReportedError, match=f"{name} is no file; expected lines"):
            lines(name)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["list", "labels"])
def test_a_line_without_end_takes_no_memory(kind, tmp_path):
    """A sparse file of 8 GB, in a process that may have 4."""
    path = tmp_path / "endless"
    with path.open("wb") as file:
        file.truncate(2**33)
    call = {
        "list": "from src.datasets.image_list import open_list as f; f(Path(sys.argv[1]))",
        "labels": "from src.deploy.labels import read_labels as f; f('folder', Path(sys.argv[1]))",
    }[kind]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; from pathlib import Path; {call}", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32)),
    )
    assert f"ReportedError: {path} line 1 is longer than {MAX_LINE} bytes" in done.stderr
