"""The shell scripts: their form, their usage errors, and the CPU pair at work."""

import csv
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import partial
from importlib import metadata
from pathlib import Path

import pytest
from commands import HELD_OUT_DIGITS, NETWORK, ROOT, contents, only
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import export
from scripts import lock_requirements

NOBODY = 65534
SCRIPTS = sorted((ROOT / "scripts").glob("*.sh"))
COMMANDS = [script for script in SCRIPTS if script.name != "common.sh"]
TINY = [*NETWORK, *["--image_size", "8", "--max_epoch", "1", "--per_batch_size", "256"]]


def run_script(name: str, *arguments: str, folder: Path, checkout: Path = ROOT) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["bash", str(checkout / "scripts" / name), *arguments], cwd=folder, capture_output=True, text=True, timeout=300
    )


@pytest.fixture
def forking(tmp_path, forked):
    """A checkout with an environment whose interpreter forks the commands: each imports MindSpore for seconds."""
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT / "scripts", checkout / "scripts", ignore=lambda *_: {"device_test", "__pycache__"})
    (checkout / ".venv/bin").mkdir(parents=True)
    with forked.interpreter(checkout / ".venv/bin/python"):
        yield checkout


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="the folder is made somebody else's")
def test_the_c_program_is_built_in_the_cache_where_the_checkout_cannot_be_written(tmp_path):
    """As the user nobody, to whom this checkout is read-only."""
    cache = tmp_path / "cache"
    cache.mkdir()
    shutil.chown(cache, NOBODY)
    for folder in (tmp_path, *tmp_path.parents[:3]):  # pytest's own are closed to others
        folder.chmod(folder.stat().st_mode | 0o011)
    checkout = tmp_path / "checkout"
    for name in ("scripts/common.sh", "ascend310_infer"):
        target = checkout / name
        target.parent.mkdir(parents=True, exist_ok=True)
        ignore = shutil.ignore_patterns("out")
        (shutil.copy if target.suffix else partial(shutil.copytree, ignore=ignore))(ROOT / name, target)

    def build_folder(cache_home: Path) -> subprocess.CompletedProcess:
        command = ["bash", "-c", f"set -euo pipefail; source {checkout}/scripts/common.sh; infer_build_folder"]
        environment = {"PATH": os.environ["PATH"], "XDG_CACHE_HOME": str(cache_home)}
        return subprocess.run(command, capture_output=True, text=True, user=NOBODY, env=environment, cwd="/")

    first = Path(build_folder(cache).stdout.strip())
    assert first.parent == cache / "densenet-mindspore"
    assert first.is_dir()
    with (checkout / "ascend310_infer/src/main.cc").open("a") as source:
        source.write("// changed\n")
    assert Path(build_folder(cache).stdout.strip()) != first
    refused = build_folder(Path("/proc"))
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: there is no place to build the C++ program: neither")
    other = Path(build_folder(cache).stdout.strip())
    other.chmod(0o777)
    assert "can be written by others; remove it" in build_folder(cache).stderr


def test_the_engine_s_folder_has_to_be_writable(tmp_path):
    (tmp_path / "a_file").touch()
    done = run_script("build_engine.sh", str(tmp_path / "a_file/out"), folder=tmp_path)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert "a_file/out, which cannot be written; name another folder" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("moved", ["CMAKE_HOME_DIRECTORY", "CMAKE_CACHEFILE_DIR"])
def test_the_c_program_is_configured_anew_after_its_folder_was_moved(moved, tmp_path):
    places = {"CMAKE_HOME_DIRECTORY": ROOT / "ascend310_infer", "CMAKE_CACHEFILE_DIR": tmp_path, moved: "/gone"}
    cache = "".join(f"{key}:INTERNAL={place}\n" for key, place in places.items())
    (tmp_path / "CMakeCache.txt").write_text(cache)
    command = ["bash", ROOT / "ascend310_infer/build.sh", tmp_path]
    done = subprocess.run(command, env=os.environ | {"LITE_HOME": "/no lite"}, capture_output=True, text=True)
    assert done.returncode != 0
    assert "LITE_HOME is /no lite, which holds no" in " ".join(done.stderr.split())
    assert "/gone" not in (tmp_path / "CMakeCache.txt").read_text()


def new_folder(root: Path, before: set[Path]) -> Path:
    (found,) = {path for path in root.iterdir() if path.is_dir()} - before
    return found


def named(scripts: list[Path]) -> dict:
    return {"argvalues": scripts, "ids": [script.name for script in scripts]}


def test_there_are_scripts():
    assert {"common.sh", "quickstart.sh", "test.sh", "run_train_cpu.sh", "run_eval_cpu.sh"} <= {s.name for s in SCRIPTS}


@pytest.mark.parametrize("script", **named(SCRIPTS))
def test_bash_can_read_it(script):
    assert subprocess.run(["bash", "-n", script], capture_output=True, text=True).stderr == ""


@pytest.mark.parametrize("script", **named(COMMANDS))
def test_a_command_is_executable_and_stops_at_the_first_error(script):
    lines = script.read_text("utf-8").splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert os.access(script, os.X_OK)
    code = [line for line in lines if line and not line.startswith("#")]
    assert code[0] == "set -euo pipefail"


def test_what_is_sourced_changes_no_options_of_the_caller():
    text = (ROOT / "scripts/common.sh").read_text("utf-8")
    assert not re.search(r"^\s*set [-+]", text, re.MULTILINE)


def test_the_newest_run_is_that_of_the_latest_name(tmp_path):
    """And not that of the latest file: a copy changes their times."""
    stamp = "2026-01-31_time_12_00_00"
    for name in (
        "2026-01-31_time_11_59_59_3",
        f"{stamp}_10",
        f"{stamp}_2",
        stamp,
        "2027-01-01_time_00_00_00",
        "my_run",
    ):
        (tmp_path / name).mkdir()
        if not name.startswith("2027"):  # it holds no such file
            (tmp_path / name / "best.ckpt").touch()
    command = f"source '{ROOT}/scripts/common.sh'; newest_run '{tmp_path}' best.ckpt"
    assert subprocess.check_output(["bash", "-c", command], text=True) == f"{tmp_path / stamp}_10\n"


def source_common(folder: Path, code: str, **variables: str) -> subprocess.CompletedProcess:
    """Run `code` in bash after `scripts/common.sh` of the checkout `folder`."""
    (folder / "scripts").mkdir(exist_ok=True)
    shutil.copy(ROOT / "scripts/common.sh", folder / "scripts")
    command = ["bash", "-euo", "pipefail", "-c", f"source scripts/common.sh; {code}"]
    return subprocess.run(command, cwd=folder, env=os.environ | variables, capture_output=True, text=True, timeout=100)


@pytest.mark.parametrize(
    ("given", "means"),
    [("timm/a.b", "timm/a.b"), ("hf://a/b", "hf://a/b"), ("timm/here", "{}/timm/here"), ("a.ckpt", "{}/a.ckpt")],
)
def test_weights_by_name_are_no_path_of_the_launchers(given, means, tmp_path):
    (tmp_path / "timm").mkdir()
    (tmp_path / "timm/here").touch()
    done = source_common(tmp_path, f"command_flags train CPU densenet121 digits bundled {given}; echo ${{FLAGS[-1]}}")
    assert done.stdout.strip() == means.format(tmp_path)


RECORDING = """#!/bin/bash
case "$*" in
  "-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
  "-m pip "*) echo "$*" >>'{record}' ;;
  *) exec '{python}' "$@" ;;
esac
"""


# Makes an environment once; the next ones are copies of it, without the seconds that pip takes to install itself.
COPYING = """#!/bin/bash
if [ "$1 $2" != "-m venv" ]; then exec '{python}' "$@"; fi
if [ ! -e '{first}' ]; then '{python}' "$@" && cp -a "$3" '{first}'; else cp -a '{first}' "$3"; fi
"""


def recording_python(path: Path, record: Path) -> str:
    """An interpreter at `path` that makes environments of itself alone, and only notes what pip is to do."""
    path.write_text(RECORDING.format(record=record, python=sys.executable))
    path.chmod(0o755)
    return str(path)


def test_the_name_of_an_interpreter_is_never_read_as_shell_text(tmp_path):
    """A path may hold quotes, and what follows them is no command."""
    folder = tmp_path / "';touch made;'"
    folder.mkdir()
    (tmp_path / "requirements.txt").touch()
    python = recording_python(folder / "python3.11", tmp_path / "record")
    done = source_common(tmp_path, "make_environment requirements.txt", PYTHON=python)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / ".venv/bin/python").exists()
    assert "requirements.txt" in (tmp_path / "record").read_text()
    assert not list(tmp_path.rglob("made"))


def test_an_interpreter_named_from_the_users_folder_works_in_another_one(tmp_path):
    (tmp_path / "python").symlink_to("/bin/true")
    done = source_common(tmp_path, 'use_python; cd /; echo "$PYTHON"', PYTHON="./python")
    assert done.stdout == f"{tmp_path}/./python\n"


def test_nothing_is_run_from_a_folder_that_others_can_write_to(tmp_path):
    """MindSpore Lite's libraries; a umask that lets the group write leaves the kernels' cache usable."""
    command = ["bash", "-c", f"umask 002; exec bash {shlex.quote(str(ROOT / 'scripts/fetch_lite.sh'))}"]
    folder = tmp_path / "new/densenet-mindspore"
    lite = folder / "lite-2.0.0"

    def fetch() -> subprocess.CompletedProcess:
        environment = os.environ | {"XDG_CACHE_HOME": str(folder.parent), "PIP_NO_INDEX": "1"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)

    assert "could not be downloaded" in fetch().stderr
    assert folder.stat().st_mode & 0o777 == 0o700
    lite.mkdir()
    assert fetch().stdout == f"{lite}\n"
    folder.chmod(0o777)
    refused = fetch()
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"{folder} belongs to somebody else or can be written by others" in refused.stderr


def test_no_script_evaluates_text():
    for script in SCRIPTS:
        assert not re.search(r"\beval (\"|\$)|\b(ba)?sh -c\b", script.read_text("utf-8")), script


def test_a_missing_package_is_named(tmp_path):
    code = "id() { echo 1000; }; need_package libabsent-dev has_header no/such/header.h"
    done = source_common(tmp_path, code)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the system package libabsent-dev is missing; install it, for example: sudo ")
    assert source_common(tmp_path, "need_header vector g++; need_package g++ command -v g++").returncode == 0


@pytest.mark.parametrize("requirements, lock", [("", ""), ("-dev", "-dev"), ("-torch", "-dev")])
@pytest.mark.parametrize("matches", [True, False])
def test_the_locked_files_are_installed_first_where_they_are_for_this_platform(requirements, lock, matches, tmp_path):
    record = tmp_path / "record"
    python = recording_python(tmp_path / "python", record)
    for name in ("", "-lock", "-dev", "-dev-lock", "-torch"):
        (tmp_path / f"requirements{name}.txt").touch()
    override = "" if matches else 'is_locked_platform() { echo "asked of $1"; false; }; '
    done = source_common(tmp_path, f"{override}make_environment requirements{requirements}.txt", PYTHON=python)
    assert done.returncode == 0, done.stderr
    # Not the found one: an environment that was made before may be another Python's.
    assert (f"asked of {tmp_path}/.venv/bin/python\n" in done.stdout) != matches
    calls = [" ".join(line.split()[5:]) for line in record.read_text().splitlines()]
    locked = f"--require-hashes --no-deps -r {tmp_path}/requirements{lock}-lock.txt"
    assert calls == [locked] * matches + [f"-r {tmp_path}/requirements{requirements}.txt"]


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_the_lock_has_all_that_is_asked_for_with_hashes(name):
    """A requirement that was added or raised is locked again with scripts/lock_requirements.py."""
    text = (ROOT / f"{name}-lock.txt").read_text("utf-8")
    entries = re.findall(r"^(\S+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", text, re.MULTILINE)
    assert text == lock_requirements.HEADER + "".join(f"{n}=={v}{hashes}\n" for n, v, hashes in entries)
    locked = {name: version for name, version, _ in entries}
    wanted = lock_requirements.requirements(ROOT / f"{name}.txt")
    assert len(wanted) > 8
    for requirement in wanted:
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)]), requirement
    for package, version in locked.items():  # what it needs in turn, as far as this environment has the same
        distribution = metadata.distribution(package)
        needs = [Requirement(text) for text in distribution.requires or ()] if distribution.version == version else []
        assert all(
            canonicalize_name(n.name) in locked for n in needs if not n.marker or n.marker.evaluate({"extra": ""})
        )


@pytest.mark.slow
def test_an_environment_goes_on_after_a_move_and_is_made_anew_without_its_interpreter(tmp_path):
    """Nothing is fetched for a moved one, and nothing of it is started by a script that names its old path."""
    python = tmp_path / "python3.11"
    python.write_text(COPYING.format(python=sys.executable, first=tmp_path / "first"))
    python.chmod(0o755)
    old, new = tmp_path / "old place", tmp_path / "new place"
    old.mkdir()
    (old / "requirements.txt").touch()
    make = 'make_environment requirements.txt; use_python; "$PYTHON" -m pip --version'
    assert "making the environment" in source_common(old, make, PYTHON=str(python)).stdout
    shutil.move(old, new)
    moved = source_common(new, make, PYTHON=str(python))
    assert moved.returncode == 0 and moved.stdout.startswith("pip "), moved
    (new / ".venv/bin/python").unlink()
    (new / ".venv/bin/python").symlink_to(tmp_path / "gone")
    again = source_common(new, make, PYTHON=str(python))
    assert "does not work any more; the environment is made anew" in again.stdout
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("run_train_cpu.sh", []),
        ("run_train_cpu.sh", ["densenet100", "digits"]),
        ("run_eval_cpu.sh", []),
        ("run_eval_cpu.sh", ["densenet100", "digits", "bundled"]),
        ("run_onnx_eval.sh", ["densenet100.onnx", "bundled"]),
        ("run_distribute_train.sh", ["8", "none", "densenet121", "imagenet"]),
        ("run_distribute_eval.sh", ["8", "none", "densenet121", "imagenet", "val"]),
        ("run_distribute_train_gpu.sh", ["2", "0,1", "densenet121", "imagenet"]),
        ("run_distribute_eval_gpu.sh", ["2", "0,1", "densenet121", "imagenet", "val"]),
        ("run_distribute_train_cpu.sh", ["2", "densenet100", "digits"]),
        ("run_distribute_eval_cpu.sh", ["2", "densenet100", "digits", "bundled"]),
    ],
)
def test_too_few_arguments_print_the_usage(name, arguments, tmp_path):
    done = run_script(name, *arguments, folder=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"usage: bash scripts/{name} ")
    assert list(tmp_path.iterdir()) == []
    header = (ROOT / "scripts" / name).read_text("utf-8").split("\nset -euo", 1)[0]
    assert "#   " + line.removeprefix("usage: ") in header.splitlines()


@pytest.mark.slow
def test_the_cpu_scripts_train_and_evaluate_in_a_folder_with_spaces(tmp_path, forking):
    folder = tmp_path / "my first runs"
    folder.mkdir()

    done = run_script(
        "run_train_cpu.sh", "densenet100", "digits", "bundled", "--eval_data_dir", "bundled", *TINY, folder=folder
    )
    assert done.returncode == 0, done.stderr
    first = only(folder / "train")
    (row,) = csv.DictReader((first / "metrics.csv").open())
    trained = contents(first)

    second_done = run_script(
        "run_train_cpu.sh", "densenet100", "digits", "bundled", f"train/{first.name}/best.ckpt", *TINY,
        folder=folder, checkout=forking,
    )  # fmt: skip
    assert second_done.returncode == 0, second_done.stderr
    second = new_folder(folder / "train", {first})
    recipe = (second / "config.yaml").read_text()
    assert f"train_pretrained: {first / 'best.ckpt'}" in recipe
    assert contents(first) == trained

    checkpoint = f"train/{first.name}/best.ckpt"
    lines = set()
    for run, checkout in ((1, ROOT), (2, forking)):
        arguments = ["densenet100", "digits", "bundled", checkpoint]
        done = run_script("run_eval_cpu.sh", *arguments, folder=folder, checkout=checkout)
        assert done.returncode == 0, done.stderr
        lines.add(re.search(r"top1_correct=(\d+), tot=(\d+)", done.stdout).groups())
        assert len(list((folder / "eval").glob("*/confusion_matrix.csv"))) == run
    ((correct, total),) = lines
    assert int(total) == HELD_OUT_DIGITS
    assert int(correct) / HELD_OUT_DIGITS == float(row["top1"])
    assert contents(first) == trained
    assert sorted(path.name for path in folder.iterdir()) == ["eval", "train"]


@pytest.mark.slow
def test_the_onnx_script_evaluates_in_a_folder_with_spaces(trained_run, tmp_path, forking):
    """With and without the names of network and data set, into a new folder each."""
    folder = tmp_path / "my models"
    folder.mkdir()
    export.main(["--ckpt_file", str(trained_run / "best.ckpt"), "--file_format=ONNX", f"--file_name={folder / 'm'}"])
    for runs, names, checkout in ((1, [], ROOT), (2, ["densenet100", "digits"], forking)):
        arguments = ["m.onnx", "bundled", "CPU", *names, "--per_batch_size", "9"]
        done = run_script("run_onnx_eval.sh", *arguments, folder=folder, checkout=checkout)
        assert done.returncode == 0, done.stderr
        assert f"tot={HELD_OUT_DIGITS}, acc=" in done.stdout
        assert len(list((folder / "eval").glob("*/confusion_matrix.csv"))) == runs


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, arguments, path, message",
    [
        ("run_train_cpu.sh", ["folder", "no such data"], "no such data", "cannot be read"),
        ("run_train_cpu.sh", ["digits", "bundled", "no weights.ckpt", *TINY], "no weights.ckpt", "does not exist"),
        ("run_eval_cpu.sh", ["digits", "bundled", "no file.ckpt"], "no file.ckpt", "does not exist"),
    ],
)
def test_the_exit_status_and_message_are_the_commands_own(name, arguments, path, message, tmp_path, forking):
    folder = tmp_path / "a b"
    folder.mkdir()
    done = run_script(name, "densenet100", *arguments, folder=folder, checkout=forking)
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert line.startswith("error: ")
    assert f"{folder / path} {message}" in line


def test_no_file_names_a_package_registry():
    # Put together here, so that this file does not name one either.
    hosts = [".".join(words) for words in (("pypi", "org"), ("pythonhosted", "org"), ("anaconda", "org"))]
    hosts += ["-".join(("index", "url"))]  # pip's flag for another one
    top = [path for path in ROOT.iterdir() if path.is_file()]
    below = [p for part in ("src", "scripts", "tests", "docs", ".ci") for p in (ROOT / part).rglob("*") if p.is_file()]
    files = [path for path in top + below if path.suffix not in (".png", ".pyc")]
    assert ROOT / "README.md" in files and Path(__file__) in files
    texts = {path: path.read_text("utf-8", "replace") for path in files}
    assert [(path, host) for path, text in texts.items() for host in hosts if host in text] == []
