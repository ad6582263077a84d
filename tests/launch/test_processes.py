"""Processes that end with their parent."""

import os
import signal
import subprocess
import sys

from commands import ROOT
from launch.jobs import MARK, processes_of, wait_for

from src.launch.processes import state_and_parent

PARENT = """
import os, subprocess, sys, time
from src.launch.processes import die_with_parent
me = os.getpid()
child = subprocess.Popen(["sleep", "300"], preexec_fn=lambda: die_with_parent(me))
print(child.pid, flush=True)
time.sleep(300)
"""


def test_a_child_dies_with_its_killed_parent(tmp_path):
    environment = os.environ | {MARK: str(tmp_path)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, env=environment, stdout=subprocess.PIPE)
    child = int(parent.stdout.readline())
    assert state_and_parent(child)[1] == parent.pid
    parent.kill()
    parent.wait()
    wait_for(lambda: processes_of(tmp_path) == [], 10)


def test_state_and_parent():
    with subprocess.Popen(["sleep", "300"]) as child:
        child.send_signal(signal.SIGSTOP)
        wait_for(lambda: state_and_parent(child.pid) == ("T", os.getpid()), 10)
        child.kill()
    assert state_and_parent(child.pid) == ("", 0)
