"""A model and its description: both or neither, never over another's, and a kill in between blocks nothing."""

import multiprocessing
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from test_manifest import MANIFEST

from src.deploy import publish as publishing
from src.deploy.manifest import manifest_path, read_manifest, write_manifest
from src.deploy.publish import publish, require_new_model
from src.utils.errors import ReportedError, UsageError


@pytest.fixture
def made(tmp_path):
    path = tmp_path / "workshop" / "model.mindir"
    path.parent.mkdir()
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def target(tmp_path):
    (tmp_path / "results").mkdir()
    return tmp_path / "results" / "a model.mindir"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_both_take_their_names(made, target):
    require_new_model(target)
    publish(made, MANIFEST, target)
    assert target.read_bytes() == b"weights"
    assert read_manifest(target) == MANIFEST
    assert names(target.parent) == {target.name, target.name + ".json"}


@pytest.mark.parametrize("appears", [".mindir", ".mindir.json"])
def test_what_appeared_meanwhile_stays(appears, made, target):
    theirs = target.with_name("a model" + appears)
    theirs.write_text("theirs")
    with pytest.raises(ReportedError, match=f"a model{appears} appeared while this command worked"):
        publish(made, MANIFEST, target)
    assert theirs.read_text() == "theirs"
    assert names(target.parent) == {theirs.name}


def test_a_model_that_appears_at_the_last_moment_stays_alone(made, target, monkeypatch):
    def late(manifest, path, model):
        write_manifest(manifest, path, model)
        path.write_text("theirs")

    monkeypatch.setattr(publishing, "write_manifest", late)
    with pytest.raises(ReportedError, match="appeared while this command worked"):
        publish(made, MANIFEST, target)
    assert target.read_text() == "theirs"
    assert names(target.parent) == {target.name}


def test_a_disk_that_numbers_a_moved_file_anew_keeps_the_description(made, target, monkeypatch):
    def move(temporary, path):
        shutil.copyfile(temporary, path)
        temporary.unlink()

    monkeypatch.setattr(publishing, "move_new", move)
    publish(made, MANIFEST, target)
    assert read_manifest(target) == MANIFEST


@pytest.mark.parametrize("killed_at", ["write_manifest", "move_new"])
def test_a_kill_in_between_does_not_block_the_same_command(killed_at, made, target, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(publishing, killed_at, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        child = multiprocessing.get_context("fork").Process(target=publish, args=(made, MANIFEST, target))
        child.start()
        child.join()
    assert child.exitcode == -signal.SIGKILL
    assert not target.exists()
    assert manifest_path(target).exists() == (killed_at == "move_new")
    require_new_model(target)
    newer = replace(MANIFEST, batch_size=7)
    publish(made, newer, target)
    assert read_manifest(target) == newer


@pytest.mark.parametrize("text", ["", "{}", '{"format": 1, "file": "another.mindir"}', "[" * 100_000])
def test_a_json_that_describes_something_else_is_in_the_way(text, made, target):
    manifest_path(target).write_text(text)
    with pytest.raises(UsageError, match=r"a model\.mindir\.json exists and is not overwritten; choose another name"):
        require_new_model(target)
    with pytest.raises(ReportedError, match=r"a model\.mindir\.json appeared"):
        publish(made, MANIFEST, target)
    assert manifest_path(target).read_text() == text


@pytest.mark.parametrize("described", [True, False])
def test_a_model_is_in_the_way(described, target):
    target.write_text("theirs")
    if described:
        write_manifest(MANIFEST, target)
    with pytest.raises(UsageError, match=r"a model\.mindir exists and is not overwritten; choose another name"):
        require_new_model(target)


def _race(made, manifest, target, start, told):
    start.wait()
    try:
        publish(made, manifest, target)
    except ReportedError as error:
        told.put((manifest.batch_size, str(error)))


@pytest.mark.slow
def test_of_two_exports_to_one_name_one_wins(made, target):
    processes = multiprocessing.get_context("fork")
    for race in range(20):
        path = target.with_name(f"{race}.mindir")
        if race % 2:  # what a killed one left
            write_manifest(replace(MANIFEST, batch_size=99), path, made)
        start, told = processes.Barrier(2), processes.SimpleQueue()
        files = [made.with_name(f"{race}-{who}") for who in (1, 2)]
        for who, file in enumerate(files, 1):
            file.write_text(f"weights of {who}")
        exports = [
            processes.Process(target=_race, args=(file, replace(MANIFEST, batch_size=who), path, start, told))
            for who, file in enumerate(files, 1)
        ]
        for export in exports:
            export.start()
        for export in exports:
            export.join()
        loser, message = told.get()
        assert told.empty() and "appeared while this command worked and is not overwritten" in message
        assert path.read_text() == f"weights of {3 - loser}"
        assert read_manifest(path).batch_size == 3 - loser
    assert len(names(target.parent)) == 40
