"""A small part of the fuzzing, in a process of its own: what it guards against is the death of the process."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).with_name("pictures.py")


@pytest.mark.slow
def test_damaged_pictures_neither_kill_the_process_nor_fail_to_decode_once_let_through():
    done = subprocess.run([sys.executable, FUZZ, "600", "0"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    decoded, refused, megabytes = map(int, re.findall(r"\d+", done.stdout))
    assert decoded + refused == 600
    assert min(decoded, refused) > 100
    assert megabytes < 300
