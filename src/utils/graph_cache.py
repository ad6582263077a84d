"""Compiled graphs kept between processes: a network that was compiled before starts in a second or two.

MindSpore can keep graphs, but by their number in the process alone: another network, or another order, would get an
old graph without a word. So each graph is kept here under a digest of all that shapes it (`graph_key.py`), with a
checksum, and is laid before MindSpore, under the number that it will ask for, in a folder of this process alone.

The graphs are in ${XDG_CACHE_HOME:-~/.cache}/densenet-mindspore/graphs; the oldest go when there are too many.
"""

import functools
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest.mock import patch

from mindspore import nn
from mindspore.graph import api

from src.utils.errors import ReportedError
from src.utils.files import is_file, write_atomically
from src.utils.graph_key import graph_key
from src.utils.logging import get_logger
from src.utils.own_folder import cache_folder, read_own, temporary_folder

MOST_BYTES = 200 * 2**20  # of all graphs; DenseNet-121's takes one of these megabytes
_ROOM = 2**24
_ENABLE, _PATH = "MS_COMPILER_CACHE_ENABLE", "MS_COMPILER_CACHE_PATH"
_MAGIC = b"densenet graph 1\n"
_DIGEST = 64  # hexadecimal SHA-256
_SUFFIX = ".graph"
_LAID = 10**9  # the time of a slot that we filled, in nanoseconds since 1970: MindSpore's are later


class CachedCell(nn.Cell):
    """A cell at the top of a graph, whose compiled form is kept when `graph_cache` is set.

    Inputs of other shapes, and training instead of evaluation, are another graph.
    """

    graph_cache: "GraphCache | None" = None

    def compile(self, *args, **kwargs):
        """See nn.Cell.compile; every call comes through here."""
        if self.graph_cache is None:
            return super().compile(*args, **kwargs)
        graph = (self.training, *(tuple(value.shape) for value in args))
        compiled = vars(self).setdefault("_compiled_graphs", set())
        if graph in compiled:
            return super().compile(*args, **kwargs)
        compiled.add(graph)
        return self.graph_cache.compile(self, args, partial(super().compile, *args, **kwargs))


class GraphCache:
    """The graphs in `folder`, which nobody else can have written to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def compile(self, cell: nn.Cell, inputs: tuple, compile_graph: Callable[[], object]) -> object:
        """`compile_graph()`, from the graph that is kept for `cell` and `inputs`; without one, what it makes is kept.

        The log says when a kept graph is used, and when it is damaged or somebody else's and is not.
        """
        try:
            path = self._folder / (graph_key(cell, inputs) + _SUFFIX)
            slots = _process_slots()
            slots.require_room()
        except (TypeError, OSError) as error:
            get_logger().info("the compiled graph is not kept: %s", error)
            return compile_graph()
        kept = _read(path)
        try:
            with slots.opened(kept) as taken:
                result = compile_graph()
        except RuntimeError:
            if kept is None:
                raise
            get_logger().warning("%s cannot be used and is ignored; compiling", path)
            return compile_graph()
        if taken.graph is None:
            get_logger().info("the compiled graph is not kept: MindSpore wrote none")
        elif taken.was_read:
            get_logger().info("the graph was compiled before: %s", path)
        elif taken.graph != kept:  # else MindSpore compiled again, and wrote the same
            self._keep(path, taken.graph)
        return result

    def _keep(self, path: Path, graph: "_Graph") -> None:
        content = graph.script_hash + graph.mindir
        whole = _MAGIC + hashlib.sha256(content).hexdigest().encode() + content
        try:
            write_atomically(path, lambda temporary: temporary.write_bytes(whole))
            graphs = [(file.lstat(), file) for file in self._folder.glob("*" + _SUFFIX)]
            room = MOST_BYTES
            for found, file in sorted(graphs, key=lambda graph: graph[0].st_mtime, reverse=True):
                room -= found.st_size
                if room < 0:
                    file.unlink(missing_ok=True)
        except (ReportedError, OSError) as error:
            get_logger().info("the compiled graph is not kept: %s", error)


@dataclass(frozen=True)
class _Graph:
    """A graph as MindSpore writes it, and its digest of the script that was started, without which it reads none."""

    script_hash: bytes
    mindir: bytes


@dataclass
class _Taken:
    """What lies in the slot after a compilation; was_read: MindSpore found it there and left it as it was."""

    graph: _Graph | None = None
    was_read: bool = False


class _Slots:
    """MindSpore's own cache in this process: it reads the folder's name once and numbers the graphs it asks for."""

    def __init__(self) -> None:
        self._folder = temporary_folder("densenet-graphs-")
        self._next = 0

    def require_room(self) -> None:
        """Raise OSError when no graph can be written: MindSpore would print pages about it."""
        with tempfile.TemporaryFile(dir=self._folder) as file:
            os.posix_fallocate(file.fileno(), 0, _ROOM)

    @contextmanager
    def opened(self, graph: _Graph | None) -> Iterator[_Taken]:
        """Have MindSpore find `graph` when it compiles the next one; yields what will be there afterwards."""
        places = self._places()
        self._next += 1
        taken = _Taken()
        try:
            with suppress(OSError):  # a full disk: MindSpore finds none and compiles
                _lay(graph, places)
            os.environ.update({_ENABLE: "1", _PATH: str(self._folder)})
            try:
                with _one_script():
                    yield taken
            finally:
                del os.environ[_ENABLE], os.environ[_PATH]
            for slot, script_hash in places:
                if not (slot.exists() and script_hash.exists()):  # a full disk may have refused one of them
                    continue
                was_read = slot.stat().st_mtime_ns == _LAID
                if was_read and graph is None:
                    continue
                if taken.graph is None or not was_read:  # what MindSpore wrote counts
                    taken.graph, taken.was_read = _Graph(script_hash.read_bytes(), slot.read_bytes()), was_read
        finally:  # what lies there is not to be found under a number that MindSpore asks for later
            for slot, _ in places:
                slot.unlink(missing_ok=True)

    def _places(self) -> list[tuple[Path, Path]]:
        """Where MindSpore may look for the next graph, and for the digest of the script: by this process's rank, and
        with its role before the names when it has joined a group.
        """
        ranks = dict.fromkeys(("0", os.environ.get("RANK_ID", "0")))
        roles = dict.fromkeys(("", os.environ.get("MS_ROLE", "")))
        folders = [self._folder / f"rank_{rank}" / "graph_cache" for rank in ranks]
        return [
            (folder / f"{role}compile_cache_{self._next}.mindir", folder / f"{role}compile_dependency.hash")
            for folder in folders
            for role in roles
        ]


@contextmanager
def _one_script() -> Iterator[None]:
    """Have MindSpore's digest of the script that was started, and of all that it imports, be one of this file: the key
    knows better, and graphs are for all scripts. It would parse those files at each graph, for half a second.
    """
    with patch.object(api, "_get_compile_cache_dep_files", lambda: [__file__], create=True):
        yield


def _lay(graph: _Graph | None, places: list[tuple[Path, Path]]) -> None:
    """Write `graph`, or without one an empty file, to all `places`, or to none. Raises OSError.

    Where it finds no file, or not the digest of the script, MindSpore reads no graph any more for as long as the
    process lives; one that it cannot read it compiles, and goes on.
    """
    try:
        for slot, script_hash in places:
            slot.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            slot.write_bytes(graph.mindir if graph else b"")
            os.utime(slot, ns=(_LAID, _LAID))
            if not script_hash.exists():
                script_hash.write_bytes(graph.script_hash if graph else _hash_of_script())
    except OSError:
        for slot, _ in places:
            slot.unlink(missing_ok=True)
        raise


def _hash_of_script() -> bytes:
    """As MindSpore 2.10 computes it."""
    digest = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    return hashlib.sha256(digest.encode()).hexdigest().encode()


@functools.cache
def _process_slots() -> _Slots:
    return _Slots()


def _read(path: Path) -> _Graph | None:
    """The graph that is kept at `path`, None with a line in the log when it is not what was written there."""
    try:
        whole = read_own(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        get_logger().warning("the compiled graph %s is ignored: %s", path, error)
        return None
    start = len(_MAGIC) + _DIGEST
    content = whole[start:]
    if whole[:start] != _MAGIC + hashlib.sha256(content).hexdigest().encode():
        get_logger().warning("the compiled graph %s is damaged and is ignored; compiling", path)
        return None
    return _Graph(content[:_DIGEST], content[_DIGEST:])


def open_graph_cache(wanted: str, device: str) -> GraphCache | None:
    """The cache for `graph_cache` (auto: on a CPU, on, off), None when there is none; one line in the log says why."""
    if wanted == "off" or (wanted == "auto" and device != "CPU"):
        return None
    if not (sys.argv[0].endswith(".py") and is_file(Path(sys.argv[0]))):
        return None  # MindSpore reads the script that was started, and fails where there is none
    if _ENABLE in os.environ:
        get_logger().info("compiled graphs are left to MindSpore, as %s is set", _ENABLE)
        return None
    try:
        return GraphCache(cache_folder("graphs"))
    except ReportedError as error:
        get_logger().info("compiled graphs are not kept: %s", error)
        return None
