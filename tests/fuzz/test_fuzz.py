"""A few of the cases that the scripts beside this file try by the hundred."""

import subprocess
import sys
from pathlib import Path

import pytest
from fuzz import failing_disk, weight_files

RACES = Path(__file__).with_name("races.py")


@pytest.mark.slow
def test_mutated_safetensors(tmp_path):
    path = tmp_path / "weights.safetensors"
    found = {seed: weight_files.problem(path, weight_files.mutated_safetensors(seed)) for seed in range(40)}
    assert not {seed: problem for seed, (_, problem) in found.items() if problem}
    assert {kind for kind, _ in found.values()} == {"done", "refused"}


@pytest.mark.torch
@pytest.mark.slow
def test_mutated_pth(tmp_path):
    found = {seed: weight_files.problem(tmp_path / "a.pth", weight_files.mutated_pth(seed)) for seed in range(25)}
    assert not {seed: problem for seed, (_, problem) in found.items() if problem}
    assert {kind for kind, _ in found.values()} >= {"done", "refused"}


@pytest.mark.slow
def test_a_race_of_whole_commands():
    """One of the kinds that `races.py` runs by twenties."""
    done = subprocess.run([sys.executable, RACES, "1", "conversion"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "1 races of 3 for conversion: 0 broken"


@pytest.mark.slow
def test_a_run_on_a_failing_disk(tmp_path):
    """Each call and each file of a run at least once."""
    status, lines = failing_disk.start_preloaded(tmp_path, "11")
    assert status == 0, lines
    assert "promises broken" in lines[-1]
    assert "'refused'" in lines[-1]
