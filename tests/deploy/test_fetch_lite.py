"""Fetching MindSpore Lite: once, whole or not at all."""

import os
import subprocess
import zipfile
from pathlib import Path

import pytest
from commands import ROOT

OFFLINE = {"PIP_NO_INDEX": "1"}


def fetch(**environment: str) -> subprocess.CompletedProcess:
    script = ROOT / "scripts/fetch_lite.sh"
    return subprocess.run(["bash", script], env=os.environ | environment, capture_output=True, text=True, timeout=500)


@pytest.mark.slow
@pytest.mark.usefixtures("infer_program")
def test_what_was_fetched_needs_no_network():
    done = fetch(**OFFLINE)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert (Path(done.stdout.strip()) / "mindspore_lite/include/api/model.h").is_file()


def test_without_a_network_it_says_so_and_trusts_nothing_half_done(tmp_path):
    cache = tmp_path / "my cache"
    (cache / "densenet-mindspore/partial/lite/mindspore_lite").mkdir(parents=True)  # of a run that was cut short
    done = fetch(XDG_CACHE_HOME=str(cache), **OFFLINE)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1] == (
        "error: MindSpore Lite 2.0.0 could not be downloaded; check the network, or unpack a release and set LITE_HOME "
        "to its folder"
    )
    assert [path.name for path in (cache / "densenet-mindspore").iterdir()] == ["lock"]


def test_another_file_of_that_name_is_not_unpacked(tmp_path):
    links = tmp_path / "links"
    links.mkdir()
    with zipfile.ZipFile(links / "mindspore_lite-2.0.0-cp37-cp37m-manylinux1_x86_64.whl", "w") as wheel:
        about = "mindspore_lite-2.0.0.dist-info"
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: mindspore-lite\nVersion: 2.0.0\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: cp37-cp37m-manylinux1_x86_64\n")
    done = fetch(XDG_CACHE_HOME=str(tmp_path), PIP_FIND_LINKS=links.as_uri(), **OFFLINE)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "error: the MindSpore Lite 2.0.0 that was downloaded is not the known file: its sha256 should be 199cd0605cc9"
    )
    assert [path.name for path in (tmp_path / "densenet-mindspore").iterdir()] == ["lock"]


def test_other_machines_are_told_what_to_do(tmp_path):
    uname = tmp_path / "uname"
    uname.write_text('#!/bin/sh\n[ "$1" = -s ] && echo Linux || echo aarch64\n')
    uname.chmod(0o755)
    done = fetch(XDG_CACHE_HOME=str(tmp_path), PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert done.stderr == (
        "error: MindSpore Lite 2.0.0 can be fetched for x86-64 Linux only, and this is Linux aarch64; unpack a release "
        "for it and set LITE_HOME to its folder\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["uname"]


def test_no_place_for_the_cache(tmp_path):
    (tmp_path / "cache").write_text("a file")
    done = fetch(XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"error: there is no place for MindSpore Lite: {tmp_path}/cache/densenet-mindspore cannot be made; "
        "set XDG_CACHE_HOME to another folder"
    )
