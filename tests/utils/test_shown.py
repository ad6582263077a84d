"""Escape sequences are shown."""

import logging
import sys

import pytest

from src.utils.errors import ReportedError, run
from src.utils.logging import get_logger, log_file
from src.utils.shown import shown


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
