"""Escape sequences are shown."""

import logging
import sys

import pytest

from src.utils.errors import ReportedError, run
from src.utils.logging import get_logger, log_file
from src.utils.shown import printable, shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[2J\x1b]0;owned\x07", "\\x1b[2J\\x1b]0;owned\\x07"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("a\u200bb\x85", "a\\u200bb\\x85"),
        ("\udcff", "\\udcff"),
        ("grün 塔 😀\n\tnext", "grün 塔 😀\n\tnext"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text, expected):
    assert shown(text) == expected


def test_printable_paths_keep_spaces_and_unicode():
    assert printable("a b/塔.jpg") == "a b/塔.jpg"
    assert printable("a\r\n\x1b[31m.jpg") == "a???[31m.jpg"
    assert printable(b"a\xff.jpg".decode(errors="surrogateescape")) == "a\\xff.jpg"


def test_errors_and_logs_are_shown(tmp_path, capsys):
    def main(_):
        with log_file(tmp_path / "log"):
            get_logger().info("found %s", "\x1b[31mred")
            logging.getLogger("densenet").warning("\x9b31m")
            raise ReportedError("missing \x1b[2J")

    assert run(main, []) == 1
    streams = capsys.readouterr()
    for text in (streams.out, streams.err, (tmp_path / "log").read_text()):
        assert "\x1b" not in text and "\x9b" not in text
    assert streams.err == "error: missing \\x1b[2J\n"
    assert "found \\x1b[31mred" in streams.out
    assert sys.stdout is not None
