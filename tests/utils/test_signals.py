"""StopRequest notes the first signal and lets the second end the process."""

import os
import signal
import subprocess
import sys

import pytest
from commands import ROOT

from src.utils.signals import StopRequest

TWICE = """
import os, signal, sys
from src.utils.signals import StopRequest
with StopRequest() as stop:
    os.kill(os.getpid(), signal.{name})
    print("noted", stop.signal_number, flush=True)
    os.kill(os.getpid(), signal.{name})
    print("not reached")
"""


REQUESTS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def usual_signals():
    """As in a terminal: under nohup or in a shell's background the tests themselves ignore some."""
    before = {number: signal.getsignal(number) for number in REQUESTS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in REQUESTS[1:]:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", REQUESTS)
def test_first_signal_is_noted_and_the_old_handler_comes_back(number):
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert stop.signal_number == 0
        os.kill(os.getpid(), number)
        assert stop.signal_number == number
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("number", REQUESTS)
def test_second_signal_ends_the_process(number):
    code = TWICE.format(name=number.name)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == -number
    assert done.stdout == f"noted {int(number)}\n"


@pytest.mark.parametrize("number", REQUESTS)
def test_what_is_ignored_stays_ignored(number):
    """A shell has its background jobs ignore Ctrl-C, nohup has its command ignore the end of the terminal."""
    signal.signal(number, signal.SIG_IGN)
    with StopRequest() as stop:
        signal.raise_signal(number)
        assert stop.signal_number == 0


BACKGROUND = """
import os, signal, time
from src.utils.signals import StopRequest, deliver_interrupts, hold_interrupts
hold_interrupts()
deliver_interrupts()
with StopRequest() as stop:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.5)
    print("noted", stop.signal_number)
"""


@pytest.mark.parametrize("ignored, noted", [("", "noted 2\n"), ("trap '' INT;", "noted 0\n")])
def test_an_interrupt_that_was_held_is_ignored_too_if_it_was_inherited_so(ignored, noted):
    command = ["bash", "-c", f'{ignored} exec "$@"', "-", sys.executable, "-c", BACKGROUND]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60).stdout == noted


def test_a_reader_that_has_gone_is_a_request_to_stop():
    """Which a log line brings, and the next one does not bring again."""
    code = (
        "import sys, time\nfrom src.utils.signals import StopRequest\nfrom src.utils.logging import get_logger\n"
        "with StopRequest() as stop:\n"
        "  for _ in range(3): get_logger().info('a line'); time.sleep(0.1)\n"
        "print(stop.signal_number, file=sys.stderr)"
    )
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=write, stderr=subprocess.PIPE, timeout=60)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"13\n")
