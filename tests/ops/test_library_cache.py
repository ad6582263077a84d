"""The cache of compiled kernels: one library for all that start together, whole, and nobody else's."""

import hashlib
import os
import re
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from checkout import BEST, NOT_USED, USED, Checkout, wait_for, write_sources
from commands import contents
from mindspore import nn, ops

from src.ops import build

NOBODY = 54321  # no such user


@pytest.mark.slow
def test_processes_that_start_together_compile_once(checkout):
    cxx = checkout.compiler("sleep 1")
    processes = [checkout.start(CXX=cxx) for _ in range(4)]
    last = [process.communicate(timeout=100)[0].splitlines()[-1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert sorted("compiled" in line for line in last) == [False, False, False, True]
    assert last.count(USED + "found in the cache") == 3
    assert checkout.calls() == 1


def test_one_that_is_killed_while_it_compiles_is_succeeded(checkout):
    cxx = checkout.compiler('[ -e started ] || { printf half >"$library"; echo $$ >pid; mv pid started; sleep 60; }')
    killed = checkout.start(CXX=cxx)
    try:
        wait_for(checkout.root / "started")
        waiting = checkout.start(CXX=cxx)
        time.sleep(0.5)
        assert waiting.poll() is None
        os.kill(killed.pid, signal.SIGKILL)  # its compiler lives on for a while
        assert "compiled" in waiting.communicate(timeout=50)[0].splitlines()[-1]
    finally:
        os.killpg(int((checkout.root / "started").read_text()), signal.SIGKILL)
        killed.communicate()
    (library,) = checkout.libraries()
    assert sorted(file.suffix for file in library.parent.iterdir()) == ["", ".log", ".sha256", ".so"]
    assert checkout.check(CXX=cxx) == USED + "found in the cache"


PLANTED = 'extern "C" __attribute__((constructor)) void planted() { __builtin_abort(); }\n'


@pytest.mark.slow
@pytest.mark.parametrize(
    "place, how",
    [
        ("key", "open"),
        ("key", "link"),
        ("kernels", "open"),
        ("kernels", "link"),
        ("densenet-mindspore", "link"),
        ("library", "open"),
        ("library", "link"),
        ("library", "foreign"),
        ("key", "foreign"),
        ("digest", "open"),
    ],
)
def test_a_library_that_others_may_have_written_is_not_loaded(checkout, tmp_path, place, how):
    """One that was planted ends the process that loads it."""
    if how == "foreign" and os.getuid() != 0:
        pytest.skip("only root can give a file away")
    checkout.check()
    (library,) = checkout.libraries()
    source = tmp_path / "planted.cc"
    source.write_text(PLANTED)
    library.unlink()
    subprocess.run(["g++", "-shared", "-fPIC", "-o", library, source], check=True)
    digest = library.with_suffix(".sha256")
    digest.write_text(hashlib.sha256(library.read_bytes()).hexdigest())
    for file in (library, digest):
        file.chmod(0o644)
    assert checkout.start().wait(timeout=100) == -signal.SIGABRT  # what is well kept is trusted
    path = {"key": library.parent, "library": library, "digest": digest}.get(place) or next(
        parent for parent in library.parents if parent.name == place
    )
    if how == "open":
        path.chmod(0o777 if path.is_dir() else 0o666)
    elif how == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        os.chown(path, NOBODY, NOBODY)
    assert re.match(re.escape(USED) + r"compiled in \d+\.\d s", checkout.check())


def test_a_cache_that_others_may_read_is_closed(checkout):
    checkout.check()
    checkout.kernels.chmod(0o755)
    assert checkout.check() == USED + "found in the cache"
    assert stat.S_IMODE(checkout.kernels.stat().st_mode) == 0o700


@pytest.mark.slow
def test_a_damaged_library_is_compiled_anew(checkout):
    checkout.check()
    (library,) = checkout.libraries()
    digest = library.with_suffix(".sha256")
    whole = library.read_bytes()
    for damage in (
        lambda: os.truncate(library, len(whole) // 2),
        lambda: library.write_bytes(b""),
        lambda: library.write_bytes(whole[:5000] + b"\xff" + whole[5001:]),
        digest.unlink,
        lambda: digest.write_bytes(b"\xff"),
    ):
        damage()
        assert re.search("compiled in .* s$", checkout.check())
        assert library.read_bytes() == whole
    assert checkout.check() == USED + "found in the cache"


def test_a_library_that_cannot_be_loaded(checkout):
    (checkout.sources / "twice.cc").write_text("void absent();\nvoid twice() { absent(); }\n")
    line = checkout.check()
    assert line.startswith(f"{NOT_USED}{checkout.kernels}/")
    assert "undefined symbol: _Z6absentv" in line
    assert list(checkout.temporary.iterdir()) == []


def assert_for_this_process_alone(
    checkout: Checkout, refusal: str, command: Sequence[str] = (), **variables: str | None
) -> None:
    """The kernels are used from a temporary folder that is gone afterwards, because of `refusal`."""
    line = checkout.check(*command, **variables)
    used = re.fullmatch(re.escape(USED) + r"compiled in \d+\.\d s for this process alone, because (.*)", line)
    assert used, line
    assert used[1] == refusal
    assert list(checkout.temporary.iterdir()) == []


@pytest.mark.slow
def test_a_cache_that_cannot_be_used(checkout, tmp_path):
    before = contents(checkout.folder)
    (tmp_path / "file").write_text("mine")
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    below = "densenet-mindspore/kernels"
    allowed = checkout.temporary
    unloadable = "it has a colon or is not printable"
    for name, value, refusal in (
        (
            "XDG_CACHE_HOME",
            f"{tmp_path}/file",
            f"{tmp_path}/file/{below} cannot be made (Not a directory); set {{name}}",
        ),
        ("XDG_CACHE_HOME", "cache", f"cache/{below} is no absolute path; set {{name}} to one"),
        ("HOME", "home", f"home/.cache/{below} is no absolute path; set {{name}} to one"),
        ("XDG_CACHE_HOME", f"{tmp_path}/a:b", f"MindSpore loads nothing from '{tmp_path}/a:b/{below}': {unloadable}"),
        ("XDG_CACHE_HOME", odd, f"MindSpore loads nothing from '{tmp_path}/\\udcff/{below}': {unloadable}"),
        (
            "MS_CUSTOM_AOT_WHITE_LIST",
            str(allowed),
            f"{{name}} lets MindSpore load from '{allowed}' only, not from {checkout.kernels}",
        ),
    ):
        assert_for_this_process_alone(checkout, refusal.format(name=name), **{name: value})
    checkout.kernels.mkdir(parents=True)
    checkout.kernels.chmod(0o777)
    assert_for_this_process_alone(checkout, f"{checkout.kernels} can be written by others; make it yours: chmod 700")
    assert list(checkout.kernels.iterdir()) == []
    assert contents(checkout.folder) == before, "something was written in the source tree"


def test_no_place_at_all(checkout, tmp_path):
    allowed = f"{tmp_path}/elsewhere"
    only = f"MS_CUSTOM_AOT_WHITE_LIST lets MindSpore load from '{allowed}' only, not from"
    assert checkout.check(MS_CUSTOM_AOT_WHITE_LIST=allowed) == (
        f"{NOT_USED}{only} {checkout.kernels}, and {only} {checkout.temporary}"
    )
    assert not checkout.kernels.exists()
    (checkout.sources / "twice.cc").write_text("int broken = ;\n")
    line = checkout.check(XDG_CACHE_HOME=f"{tmp_path}/co:lon")
    log = Path(line.partition("all that it said is in ")[2])
    assert log.is_relative_to(checkout.temporary) and "int broken" in log.read_text()


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user():
    """Finds no library of the first one's, and none where he may not write or has no home."""
    to_become_him = (
        "import gettext, locale, os, sys",  # whose files he may not read, if Python is in root's home,
        "from src.ops import build",
        "build.instruction_sets()",  # nor those that are first needed here
        "from src.utils.errors import run",
        f"os.setgroups([]), os.setgid({NOBODY}), os.setuid({NOBODY})",
        "sys.exit(run(build.main, ['--check']))",
    )
    as_him = ("-c", "; ".join(to_become_him))
    with tempfile.TemporaryDirectory(dir="/tmp") as root:  # those of the tests are closed to others
        Path(root).chmod(0o755)
        checkout = Checkout(Path(root))
        shared = checkout.root / "shared"
        shared.mkdir()
        for folder in (shared, checkout.temporary):
            folder.chmod(0o1777)
        checkout.check(XDG_CACHE_HOME=str(shared))
        first = contents(shared)
        assert len(first) == 4
        for variables, refusal in (
            (
                {"XDG_CACHE_HOME": str(shared)},
                f"{shared}/densenet-mindspore belongs to somebody else; set XDG_CACHE_HOME to a folder of your own",
            ),
            ({}, "{} cannot be made (Permission denied); set XDG_CACHE_HOME"),
            ({"HOME": None}, "this user has no home; set XDG_CACHE_HOME to a folder"),
        ):
            place = Path(variables.get("XDG_CACHE_HOME", checkout.home / ".cache")) / "densenet-mindspore/kernels"
            assert_for_this_process_alone(checkout, refusal.format(place), command=as_him, **variables)
        assert contents(shared) == first


@pytest.mark.parametrize("cache", ["my cache", "co:lon"])
def test_mindspore_loads_the_library(tmp_path, monkeypatch, cache):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / cache))
    found = build.kernels(write_sources(tmp_path / "my sources"))
    assert found.instruction_set == BEST
    assert found.library.is_relative_to(tmp_path / "my cache") == (cache == "my cache")

    class Twice(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.twice = ops.Custom(f"{found.library}:twice", lambda x: x, lambda x: x, func_type="aot")

        def construct(self, x: ms.Tensor) -> ms.Tensor:
            return self.twice(x)

    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    for mode in (ms.PYNATIVE_MODE, ms.GRAPH_MODE):  # the project's mode last
        ms.set_context(mode=mode)
        assert np.array_equal(Twice()(ms.Tensor(x)).asnumpy(), 2 * x)
