"""run(): which exception becomes which line and exit status."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import ROOT

from src.utils.ending import tell_when_done
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


STREAMS = """
import sys
from pathlib import Path
from src.utils.errors import ReportedError, run
from src.utils.logging import get_logger, log_file
def main(argv):
    with log_file(Path(argv[0])):
        get_logger().info("a line")
        print("printed")
        sys.stderr.write("a bar")
        if argv[1] == "bug":
            raise ZeroDivisionError("a bug")
        if argv[1] == "error":
            raise ReportedError("an error")
sys.exit(run(main))
"""


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["", "<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("how, status, logged", [("well", 0, "a line"), ("error", 1, "an error"), ("bug", 1, "a bug")])
def test_closed_streams_end_nothing_and_the_log_has_what_they_lack(closed, how, status, logged, tmp_path):
    log = tmp_path / "run.log"
    command = ["bash", "-c", f'exec "$@" {closed}', "-", sys.executable, "-c", STREAMS, log, how]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == status
    text = log.read_text()
    assert text.splitlines()[0].endswith(":INFO:a line")
    assert logged in text and "printed" not in text and "a bar" not in text
    assert ("Traceback" in text) == (how == "bug")
    assert ("printed" in done.stdout) == (">&-" not in closed.replace("2>&-", ""))
    assert ("Traceback" in done.stderr) == (how == "bug" and "2>" not in closed)


def test_a_full_disk_behind_stderr_changes_no_exit_status():
    code = "import sys\nfrom src.utils.errors import UsageError, run\ndef main(_): raise UsageError('no')\n"
    with Path("/dev/full").open("w") as full:
        assert (
            subprocess.run(
                [sys.executable, "-c", f"{code}sys.exit(run(main))"], cwd=ROOT, stdout=full, stderr=full
            ).returncode
            == 2
        )


@pytest.mark.parametrize("where, expected", [("2>/dev/null", True), ("2>&-", True), ("2>&1", False), ("", False)])
def test_whether_stderr_leads_somewhere(where, expected):
    code = "from src.utils.errors import is_stderr_nowhere; print(is_stderr_nowhere())"
    command = ["bash", "-c", f'exec "$@" {where}', "-", sys.executable, "-c", code]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout == f"{expected}\n"


def test_numpy_2_is_one_line(tmp_path):
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy/__init__.py").write_text("raise ImportError('pages of advice')")
    (tmp_path / "numpy/version.py").write_text('\nversion = "2.4.1"\n__version__ = version\n')
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, ROOT / "train.py", "--dataset", "digits"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1
    assert line.startswith(f"error: found NumPy 2 in {tmp_path}/numpy, but MindSpore 2.10 works with NumPy 1 only; ")


def test_who_waits_is_told_once_how_the_command_ended():
    for error, expected in ((None, 0), (StopError(15, "stopped"), 143), (ReportedError("no"), None)):
        told = []
        tell_when_done(told.append)
        run(raising(error) if error else lambda _: None, [])
        run(lambda _: None, [])
        assert told == [expected]
    tell_when_done(told.append)
    with pytest.raises(ZeroDivisionError):
        run(raising(ZeroDivisionError()), [])
    assert told == [None, None]
