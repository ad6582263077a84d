"""run(): which exception becomes which line and exit status."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import ROOT

from src.utils.errors import ReportedError, StopError, UsageError, run


def raising(error):
    def main(_):
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ReportedError("a.jpg is\n damaged"), 1),
        (UsageError("no such flag"), 2),
        (StopError(2, "stopped by SIGINT"), 130),
        (StopError(15, "stopped by SIGTERM"), 143),
    ],
)
def test_a_reported_error_is_one_line(error, status, capsys):
    assert run(raising(error), []) == status
    assert capsys.readouterr().err == "error: " + " ".join(str(error).split()) + "\n"


@pytest.mark.parametrize("flag", ["--debug", "--debug=true", "--debug=True", "--debug=1"])
def test_debug_shows_the_traceback_first(flag, capsys):
    assert run(raising(ReportedError("damaged")), [flag]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "error: damaged"


def test_success_is_zero_and_main_gets_the_arguments():
    given = []
    assert run(given.extend, ["--lr", "0.1"]) == 0
    assert given == ["--lr", "0.1"]


def test_an_early_interrupt_is_130(capsys):
    assert run(raising(KeyboardInterrupt()), []) == 130
    assert capsys.readouterr().err.startswith("error: interrupted")


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run(raising(ZeroDivisionError()), [])


def test_what_stdout_cannot_show_is_escaped_and_ends_nothing():
    """A terminal without Unicode, and the byte of a file name that is not UTF-8."""
    program = "import sys; from src.utils.errors import run; sys.exit(run(lambda _: print('\\u5854', '\\udcff')))"
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\\u5854 \\udcff\n", "")


@pytest.mark.parametrize("body", ["print('x')", "raise SystemExit(print('x'))"])
def test_a_full_disk_behind_stdout_is_one_line(body):
    """Also when only the interpreter's own flush at the end would find it."""
    code = f"import sys; from src.utils.errors import run\ndef main(_):\n    {body}\nsys.exit(run(main, []))"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        "error: cannot write the output: No space left on device; free the disk or send it elsewhere\n"
    )
