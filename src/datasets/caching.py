"""Opening the caches of pictures that a run asks for: their room is checked before anything is decoded.

On the disk they are in ${XDG_CACHE_HOME:-~/.cache}/densenet-mindspore/pictures, one for each data set, part of it and
geometry: of changed pictures the old one is replaced. In memory a cache is a file without a name (memfd_create), which
other processes of this user find by a note in that folder, and which ends with the last one that uses it.
"""

import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import PIL

from src.datasets.identity import hash_of
from src.datasets.picture_cache import PictureCache, bounds, fill, read_table, size_of
from src.datasets.preprocessing_choices import DECODED
from src.datasets.source import Source
from src.datasets.stages import Stage
from src.utils.ending import clean_at_end
from src.utils.errors import ReportedError
from src.utils.files import TEMPORARY_PREFIX, write_atomically, write_text_atomically
from src.utils.logging import get_logger
from src.utils.memory import available_memory
from src.utils.own_folder import cache_folder, locked, open_own, read_own

_SHARE = 0.8  # of the memory that is available; training needs some too
_NAMELESS = "densenet-pictures"


@dataclass(frozen=True)
class Wanted:
    """The stages of the pictures of `source`, None for one that needs no cache; role: training or held-out."""

    source: Source
    role: str
    stages: Sequence[Stage | None]


def open_caches(
    where: str, wanted: Sequence[Wanted], *, workers: int, beat: Callable[[], None] = lambda: None, fills: bool = True
) -> list[Source]:
    """Each source of `wanted` with its caches, found or filled now; where: `ram`, `disk`, or `none` for none at all.

    The first of several processes fills them, the others wait; beat is called meanwhile. A line of the log says how
    many MB they have. Without `fills` no picture is read: what is there is used, and what is not is left out. Raises
    ReportedError when they do not fit, as far as their size is known, and for a picture that cannot be used.
    """
    if where == "none":
        return [one.source for one in wanted]
    opened: list[dict[Stage, PictureCache]] = [{} for _ in wanted]
    places = []
    for number, one in enumerate(wanted):
        for stage in dict.fromkeys(one.stages):
            if stage is None:
                pixels = "are pixels in memory, or packed as such; nothing is kept"
                get_logger().info("cache %s: the %s pictures %s", where, one.role, pixels)
            else:
                places.append((number, _Place.of(one, stage)))
    if not places:
        return [one.source for one in wanted]
    try:
        folder = cache_folder("pictures")
        with locked(folder / "lock", "fills the cache of pictures", beat):
            missing = []
            for number, place in places:
                if cache := place.found(where, folder, fills):
                    opened[number][place.stage] = cache
                elif fills or place.stage.form != DECODED:  # whose size is in the pictures' headers
                    missing.append((number, place, bounds(place.source, place.stage, workers)))
                else:
                    place.say_not_filled(where)
            _require_room(where, folder, [(place, size_of(most)) for _, place, most in missing])
            for number, place, most in missing:
                if fills:
                    opened[number][place.stage] = place.filled(where, folder, most, workers, beat)
                else:
                    place.say_not_filled(where, size_of(most))
    except OSError as error:
        raise ReportedError(
            f"cache {where} cannot be made ({error.strerror}); make room for it, or give --cache none"
        ) from error
    return [_with_caches(one.source, caches) for one, caches in zip(wanted, opened, strict=True)]


def _with_caches(source: Source, caches: dict[Stage, PictureCache]) -> Source:
    return replace(source, kept={**source.kept, **{stage: cache.record for stage, cache in caches.items()}})


@dataclass(frozen=True)
class _Place:
    """One cache. name: of its file, the same for later states of the same data; key: of these very pictures."""

    source: Source
    role: str
    stage: Stage
    name: str
    key: bytes

    @classmethod
    def of(cls, wanted: Wanted, stage: Stage) -> "_Place":
        source = wanted.source
        where = [source.dataset, os.path.abspath(source.origin), wanted.role, stage.identity()]  # noqa: PTH100, links are kept
        state = source.state() if source.state else os.urandom(16)  # nobody can say: it is found never again
        key = hash_of([json.dumps([*where, *_versions()]).encode(), state])
        return cls(source, wanted.role, stage, hash_of([json.dumps(where).encode()]).hex()[:24], key)

    def found(self, where: str, folder: Path, fills: bool) -> PictureCache | None:
        """The cache if it is there and sound; what is not makes room for another one that `fills` it."""
        path = self._path(where, folder)
        try:
            file = _nameless_file(path) if where == "ram" else os.fdopen(open_own(path, os.O_RDWR), "r+b", 0)
            table, problem = read_table(file, self.key, len(self.source))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            table, problem = None, f"cannot be used ({error})"
        if table is None:
            if where == "disk" and fills:
                get_logger().warning("the cache of pictures %s %s; it is made anew", path, problem)
                path.unlink(missing_ok=True)
            return None
        self._say(
            where,
            int(table["offset"].max(initial=0)),
            f", found in {path}" if where == "disk" else ", in another process",
        )
        return PictureCache(file, table, self.source, self.stage, f"the cache of pictures {path}")

    def filled(
        self, where: str, folder: Path, most: np.ndarray, workers: int, beat: Callable[[], None]
    ) -> PictureCache:
        """A new cache."""
        path, started, made = self._path(where, folder), time.monotonic(), []
        self._say(where, size_of(most), f", in {path}" if where == "disk" else "")

        def write(file: BinaryIO) -> None:
            made.append((file, fill(file, self.key, self.source, self.stage, most, workers, beat)))

        if where == "ram":
            descriptor = os.memfd_create(_NAMELESS)
            write(os.fdopen(descriptor, "r+b", 0))
            note = f"{os.getpid()} {descriptor}"
            write_text_atomically(path, note)
            clean_at_end(path, partial(_take_away, path, note))
        else:
            for leftover in folder.glob(TEMPORARY_PREFIX + "*"):  # of one that was killed
                leftover.unlink(missing_ok=True)
            write_atomically(path, lambda temporary: write(temporary.open("x+b", 0)))
            path.chmod(0o600)
        ((file, table),) = made
        get_logger().info("the cache was filled in %.1f s", time.monotonic() - started)
        return PictureCache(file, table, self.source, self.stage, f"the cache of pictures {path}")

    def _path(self, where: str, folder: Path) -> Path:
        """Of the cache on the disk, or of the note of what is in this machine's memory; a home may be of many."""
        machine = f"-{hash_of([os.fsencode(platform.node())]).hex()[:8]}" if where == "ram" else ""
        return folder / f"{self.name}{machine}.{where}"

    def say_not_filled(self, where: str, size: int | None = None) -> None:
        """Say what the cache would have."""
        get_logger().info(
            "cache %s: not filled for these few steps, which decode what they use: %d %s pictures %s%s",
            where, len(self.source), self.role, self.stage.in_words(),
            "" if size is None else f", {_megabytes(size)} MB",
        )  # fmt: skip

    def _say(self, where: str, size: int, place: str) -> None:
        get_logger().info(
            "cache %s: %s MB for %d %s pictures, %s%s",
            where, _megabytes(size), len(self.source), self.role, self.stage.in_words(), place,
        )  # fmt: skip


def _nameless_file(note: Path) -> BinaryIO:
    """The file in memory of another process, which that says in `note`. Raises OSError and ValueError."""
    process, descriptor = map(int, read_own(note).split())
    link = Path(f"/proc/{process}/fd/{descriptor}")
    if not str(link.readlink()).startswith(f"/memfd:{_NAMELESS}"):
        raise FileNotFoundError
    return link.open("r+b", 0)


def _take_away(path: Path, note: str) -> None:
    """Remove what this process has noted at `path`, at its end."""
    with suppress(OSError):
        if path.read_text() == note:
            path.unlink()


def _require_room(where: str, folder: Path, missing: Sequence[tuple[_Place, int]]) -> None:
    needed = sum(size for _, size in missing)
    if where == "ram":
        available, _ = available_memory()
        room = None if available is None else int(_SHARE * available)
        limit, advice = f"{_SHARE:g} of the memory that is available", "give --cache disk, or --cache none"
    else:
        found = os.statvfs(folder)
        room = found.f_bavail * found.f_frsize
        limit = f"what is free on the disk of {folder}"
        advice = "set XDG_CACHE_HOME to a folder on a larger disk, or give --cache none"
    if room is not None and needed > room:
        parts = "; ".join(
            f"{len(place.source)} {place.role} pictures {place.stage.in_words()}: {_megabytes(size)} MB"
            for place, size in missing
        )
        raise ReportedError(
            f"cache {where} would take {_megabytes(needed)} MB ({parts}), expected at most {_megabytes(room)} MB, "
            f"{limit}; {advice}"
        )


def _megabytes(size: int) -> str:
    return f"{max(1, round(size / 1e6)):,}"


def _versions() -> list[str]:
    """Of what decodes and resizes pictures."""
    with suppress(ImportError):
        import mindspore

        return [mindspore.__version__, PIL.__version__]
    return ["", PIL.__version__]
