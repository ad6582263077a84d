"""The form of a log line, and what reaches the run's file."""

import os
import re
import subprocess
import sys

import pytest
from commands import ROOT

from src.utils.errors import ReportedError
from src.utils.logging import get_logger, log_file

LINE = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}:"


def test_a_line_goes_to_stdout_and_to_the_file_and_is_appended(tmp_path, capsys):
    path = tmp_path / "train.log"
    for number in (1, 2):
        with log_file(path):
            get_logger().info("epoch %d", number)
    get_logger().info("after")
    pattern = rf"{LINE}INFO:epoch 1\n{LINE}INFO:epoch 2\n"
    assert re.fullmatch(pattern, path.read_text())
    assert re.fullmatch(pattern + rf"{LINE}INFO:after\n", capsys.readouterr().out)


def test_the_error_that_ends_the_run_is_in_the_file_only(tmp_path, capsys):
    with pytest.raises(ReportedError), log_file(tmp_path / "train.log"):
        raise ReportedError("the disk is full, 100 % of it")
    assert re.fullmatch(rf"{LINE}ERROR:the disk is full, 100 % of it\n", (tmp_path / "train.log").read_text())
    assert capsys.readouterr() == ("", "")


def test_a_log_that_cannot_be_opened_is_reported(tmp_path):
    with (
        pytest.raises(ReportedError, match=r"cannot write the log .*: No such file or directory"),
        log_file(tmp_path / "none" / "train.log"),
    ):
        pass


def test_a_line_is_printed_once_however_often_the_logger_is_asked_for(capsys):
    get_logger()
    get_logger().info("once")
    assert capsys.readouterr().out.count("once") == 1


def test_a_name_that_is_not_utf_8_is_escaped_in_the_file(tmp_path):
    """In a process of its own: pytest captures the log, and pytest-xdist cannot pass such a name on."""
    lines = ["from pathlib import Path", "from src.utils.logging import get_logger, log_file"]
    lines += ["with log_file(Path('run.log')):", r"    get_logger().info('\udcff.jpg')"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8:backslashreplace"}
    subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "run.log").read_text("utf-8").endswith(":INFO:\\udcff.jpg\n")
