"""The kernels' threads (cpp/base/parallel.h): parts are done once, any number of threads gives the same bits."""

import subprocess
from pathlib import Path

import pytest
from direct import INSTRUCTION_SETS
from shared import kept_program

from src.ops import build

DRIVER = Path(__file__).with_name("run_team.cc")
NO_QUOTA = 2**31 - 1  # INT_MAX

pytestmark = pytest.mark.slow


def compiled(*sanitizers: str) -> Path:
    flags = ["-std=c++17", "-O1", "-g1", "-Wall", "-Wextra", "-Werror", "-fopenmp", *sanitizers]
    sources = [build.SOURCES / "base" / name for name in ("parallel.cc", "cgroup.cc")]
    flags += build.INSTRUCTION_SETS[INSTRUCTION_SETS[0]].flags
    return kept_program(build.find_compiler(), flags, [build.SOURCES], DRIVER, *sources)


@pytest.fixture(scope="module")
def program():
    return compiled("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def printed_by(*command: object) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_forked_process_has_threads_of_its_own(program):
    printed_by(program, "fork")


def test_every_part_is_done_once_whoever_calls():
    """Under the thread sanitizer."""
    program = compiled("-fsanitize=thread")
    printed_by(program, "rounds")
    printed_by(program, "callers")


def test_sums_have_the_same_bits_for_any_number_of_threads(program):
    alone = printed_by(program, "sums", 1)
    assert len(alone.splitlines()) == 37
    assert [printed_by(program, "sums", threads) for threads in (2, 3, 5)] == [alone] * 3


@pytest.mark.parametrize(
    "limits, cores",
    [
        ({"job": "150000 100000"}, 2),
        ({"job": "50000 100000"}, 1),
        ({"job": "max 100000"}, NO_QUOTA),
        ({"job": "800000 100000", ".": "300000 100000"}, 3),
        ({".": "max 100000", "job": "0 0"}, NO_QUOTA),
        ({"job": "what is this"}, NO_QUOTA),
        ({}, NO_QUOTA),
    ],
)
def test_cores_of_a_container(program, tmp_path, limits, cores):
    """Of version 2: the smallest quota from the process's group up, rounded up."""
    for group, limit in limits.items():
        (tmp_path / group).mkdir(exist_ok=True)
        (tmp_path / group / "cpu.max").write_text(limit + "\n")
    groups, mounts = tmp_path / "own", tmp_path / "mounts"
    groups.write_text("0::/job\n")
    mounts.write_text(
        f"31 23 0:28 / /proc rw - proc proc rw\n32 31 0:29 / {tmp_path} rw,relatime shared:4 - cgroup2 cgroup2 rw\n"
    )
    assert int(printed_by(program, "cores", groups, mounts)) == cores


@pytest.mark.parametrize(("quota", "cores"), [("250000", 3), ("-1", NO_QUOTA)])
def test_cores_of_an_older_container(program, tmp_path, quota, cores):
    """Version 1, in a container that sees its own group as the root."""
    (tmp_path / "cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu.cfs_period_us").write_text("100000")
    groups, mounts = tmp_path / "own", tmp_path / "mounts"
    groups.write_text("4:cpu,cpuacct:/docker/1\n3:memory:/docker/1\n0::/\n")
    mounts.write_text(f"9 8 0:29 /docker/1 {tmp_path} rw - cgroup cgroup rw,cpu,cpuacct\n")
    assert int(printed_by(program, "cores", groups, mounts)) == cores


def test_without_control_groups(program, tmp_path):
    assert int(printed_by(program, "cores", tmp_path / "none", tmp_path / "none")) == NO_QUOTA
