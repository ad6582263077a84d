"""Graphs that are kept between processes: the same bits, never an old graph, nothing damaged or foreign used."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import TINY, only, weights

from src.utils import graph_cache
from src.utils.graph_cache import GraphCache, _Graph, _Slots, open_graph_cache

SCRIPT = Path(__file__).with_name("compile_graphs.py")
USED = "the graph was compiled before"


@pytest.fixture(scope="module")
def compile_graphs():
    """Cases of compile_graphs.py -> what each said."""
    environment = os.environ | {"PYTHONPATH": str(SCRIPT.parents[2]), "MS_SUBMODULE_LOG_v": "{PIPELINE:3,CORE:4}"}
    with subprocess.Popen(
        [sys.executable, SCRIPT], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def answers(*cases: str) -> list[dict]:
            found = []
            for case in cases:
                process.stdin.write(f"{case}\n")
                process.stdin.flush()
                found.append(json.loads(next(line for line in process.stdout if line.startswith("{"))))
            return found

        yield answers
        process.stdin.close()
    assert process.returncode == 0


def used(run: dict) -> int:
    return sum(USED in line for line in run["log"])


def same(first: dict, second: dict) -> bool:
    return first["results"] == second["results"] and first["weights"] == second["weights"]


@pytest.mark.slow
def test_a_kept_graph_gives_the_same_bits_and_no_other_configuration_gets_it(compile_graphs, tmp_path):
    cases = ("0:1:tete", "0:7:et", "0.1:1:t")
    plain, plain_seed, plain_smoothed, cold, warm, seed, smoothed = compile_graphs(
        *(f":{case}" for case in cases), f"{tmp_path}:{cases[0]}", *(f"{tmp_path}:{case}" for case in cases)
    )
    assert used(cold) == used(smoothed) == 0
    assert used(warm) == used(seed) == 2
    assert same(plain, cold)
    assert same(plain, warm)
    assert same(plain_seed, seed)
    assert same(plain_smoothed, smoothed)
    assert len({run["weights"] for run in (warm, seed, smoothed)}) == 3


@pytest.mark.slow
def test_a_graph_that_is_damaged_or_not_ours_is_ignored_with_a_line(compile_graphs, tmp_path):
    compile_graphs(f"{tmp_path}:0:1:t")
    (graph,) = tmp_path.glob("*.graph")
    whole = graph.read_bytes()
    graph.write_bytes(whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:])
    damaged, mended = compile_graphs(f"{tmp_path}:0:1:t", f"{tmp_path}:0:1:t")
    assert used(damaged) == 0
    assert any("is damaged and is ignored" in line for line in damaged["log"])
    assert used(mended) == 1
    assert same(damaged, mended)
    graph.chmod(0o666)
    graph_elsewhere = tmp_path / "elsewhere"
    graph.rename(graph_elsewhere)
    graph.symlink_to(graph_elsewhere)
    (linked,) = compile_graphs(f"{tmp_path}:0:1:t")
    assert used(linked) == 0
    assert any(str(graph) in line and "ignored" in line for line in linked["log"])
    assert same(linked, mended)


def test_only_this_users_graphs_are_read(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT)])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert isinstance(open_graph_cache("auto", "CPU"), GraphCache)
    folder = tmp_path / "densenet-mindspore/graphs"
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    assert open_graph_cache("auto", "CPU") is None
    assert f"{folder} can be written by others" in capsys.readouterr().out


def test_when_graphs_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT)])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert open_graph_cache("off", "CPU") is None
    assert open_graph_cache("auto", "Ascend") is None
    assert isinstance(open_graph_cache("on", "Ascend"), GraphCache)
    monkeypatch.setenv("MS_COMPILER_CACHE_ENABLE", "1")
    assert open_graph_cache("on", "CPU") is None
    monkeypatch.delenv("MS_COMPILER_CACHE_ENABLE")
    monkeypatch.setattr(sys, "argv", ["-c"])  # MindSpore reads the started script and fails where there is none
    assert open_graph_cache("on", "CPU") is None


@pytest.mark.slow
def test_the_second_start_of_a_run_compiles_nothing_and_off_keeps_nothing(forked, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    logs, graphs = [], tmp_path / "cache/densenet-mindspore/graphs"
    for name, flags in (("off", ["--graph_cache", "off"]), ("first", []), ("second", []), ("without", [])):
        if name == "without":  # that of training, the older one: the other is read all the same
            min(graphs.glob("*.graph"), key=lambda path: path.stat().st_mtime_ns).unlink()
        argv = [
            *TINY,
            "--eval_data_dir",
            "bundled",
            "--cpu_kernels",
            "off",
            *flags,
            "--save_ckpt_path",
            tmp_path / name,
        ]
        done = forked.run("train", argv, tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        logs.append((only(tmp_path / name) / "train.log").read_text())
        assert graphs.exists() == (name != "off")
    assert [log.count(USED) for log in logs] == [0, 0, 2, 1]
    first, second = (weights(only(tmp_path / name) / "best.ckpt") for name in ("first", "second"))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_a_rank_of_a_group_finds_its_graph_where_mindspore_looks(monkeypatch):
    """As MindSpore 2.10 names it once a process has joined a group under msrun."""
    monkeypatch.setenv("RANK_ID", "1")
    monkeypatch.setenv("MS_ROLE", "MS_WORKER")
    graph = _Graph(b"0" * 64, b"a graph")
    slots = _Slots()
    with slots.opened(graph):
        folder = Path(os.environ["MS_COMPILER_CACHE_PATH"], "rank_1/graph_cache")
        assert (folder / "MS_WORKERcompile_cache_0.mindir").read_bytes() == b"a graph"
        assert (folder / "MS_WORKERcompile_dependency.hash").read_bytes() == b"0" * 64
    with slots.opened(None) as taken:
        (folder / "MS_WORKERcompile_cache_1.mindir").write_bytes(b"a new graph")
    assert taken.graph == _Graph(b"0" * 64, b"a new graph")
    assert "MS_COMPILER_CACHE_PATH" not in os.environ


def test_the_oldest_graphs_go_when_all_take_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr(graph_cache, "MOST_BYTES", 2500)
    cache = GraphCache(tmp_path)
    for number in range(4):
        path = tmp_path / f"{number}.graph"
        cache._keep(path, _Graph(b"0" * 64, b"a" * 800))
        os.utime(path, (number, number))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2.graph", "3.graph"]


def test_a_graph_that_could_not_be_used_is_not_found_by_a_later_one():
    slots = _Slots()
    with pytest.raises(RuntimeError), slots.opened(_Graph(b"0" * 64, b"a graph")):
        folder = Path(os.environ["MS_COMPILER_CACHE_PATH"])
        raise RuntimeError
    assert not list(folder.rglob("*.mindir"))
    assert "MS_COMPILER_CACHE_ENABLE" not in os.environ


def test_without_room_for_a_graph_none_is_asked_for():
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            _Slots().require_room()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    _Slots().require_room()


@pytest.mark.slow
@pytest.mark.parametrize("written_again", [True, False])
def test_a_graph_that_was_compiled_again_is_not_said_to_have_been_found(written_again):
    """Where it did not find the digest of its script MindSpore compiles all, and writes the very same bytes."""
    graph = _Graph(b"0" * 64, b"a graph")
    with _Slots().opened(graph) as taken:
        slot = Path(os.environ["MS_COMPILER_CACHE_PATH"], "rank_0/graph_cache/compile_cache_0.mindir")
        if written_again:
            slot.write_bytes(slot.read_bytes())
    assert (taken.graph, taken.was_read) == (graph, not written_again)
    assert not slot.exists()
