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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_is_noted_and_the_old_handler_comes_back(number):
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert stop.signal_number == 0
        os.kill(os.getpid(), number)
        assert stop.signal_number == number
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_second_signal_ends_the_process(number):
    code = TWICE.format(name=number.name)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == -number
    assert done.stdout == f"noted {int(number)}\n"
