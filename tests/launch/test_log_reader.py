"""Following a rank's log, and what it said last."""

import io
import os

import pytest

from src.launch.log_reader import Follower, last_words

CHATTER = b"[WARNING] DISTRIBUTED(22081,7f507d219b80,python):2026-11-24-15:43:34.103.728 [a.cc:485] Connect] 11\n"


def test_a_growing_log_is_copied_by_whole_lines_without_mindsporess_chatter(tmp_path):
    log, out = tmp_path / "worker_0.log", io.BytesIO()
    follower = Follower(log, out)
    follower.copy_new()
    assert out.getvalue() == b""
    with log.open("ab", buffering=0) as file:
        file.write(b"one\n" + CHATTER + b"tw")
        follower.copy_new()
        assert out.getvalue() == b"one\n"
        file.write(b"o\nthree\xff")
        follower.copy_new()
        assert out.getvalue() == b"one\ntwo\n"
        follower.copy_rest()
    assert out.getvalue() == b"one\ntwo\nthree\xff\n"


def test_a_reader_that_has_gone_is_noticed(tmp_path):
    (tmp_path / "log").write_text("line\n")
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb", buffering=0) as out, pytest.raises(BrokenPipeError):
        Follower(tmp_path / "log", out).copy_new()


@pytest.mark.parametrize(
    "text, words",
    [
        (b"a\nerror: the disk is full\n" + CHATTER + b"teardown\n", "error: the disk is full"),
        (b"Traceback\n  x\nRuntimeError: launch failed\n\n-----\n- C++ Call Stack\n", "RuntimeError: launch failed"),
        (b"step 1\nstep 2\n\n" + CHATTER, "step 2"),
        (b"\x1b[31mred\xff\n", " [31mred\ufffd"),
        (b"x" * 1000, "x" * 600),
        (CHATTER, ""),
        (b"", ""),
    ],
)
def test_last_words(text, words, tmp_path):
    (tmp_path / "log").write_bytes(text)
    assert last_words(tmp_path / "log") == words


def test_no_log_says_nothing(tmp_path):
    assert last_words(tmp_path / "absent") == ""
