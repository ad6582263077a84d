"""A few of the cases that the scripts beside this file try by the hundred."""

import pytest
from fuzz import failing_disk, weight_files


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
def test_a_run_on_a_failing_disk(tmp_path):
    """Each call and each file of a run at least once."""
    status, lines = failing_disk.start_preloaded(tmp_path, "11")
    assert status == 0, lines
    assert "promises broken" in lines[-1]
    assert "'refused'" in lines[-1]
