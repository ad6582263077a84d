"""A ModelArts job's data and results, copied between its object storage and the disk by ModelArts' own moxing.

On each host one rank copies in and the others wait; whoever leaves copies out what is not there yet.
"""

import errno
import json
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from src.model_utils.host_meeting import Meeting, locked, meeting_place, rewrite
from src.utils.ending import last_act
from src.utils.errors import ReportedError
from src.utils.files import TEMPORARY_PREFIX
from src.utils.logging import get_logger

_PAUSES = (1, 5, 20)  # seconds before the second, third and fourth attempt
_NO_RESULTS = (TEMPORARY_PREFIX, ".lock")  # beginnings of names that are not copied out


@contextmanager
def modelarts(
    *,
    enable_modelarts: bool,
    data_url: str,
    train_url: str,
    checkpoint_url: str,
    data_path: str,
    output_path: str,
    load_path: str,
    upload_interval: float,
    resume: bool = False,
) -> Iterator[Path]:
    """Have the data on the disk inside the `with`, and the results at `train_url` after it, however it is left.

    Yields the folder that relative paths of results belong in: `output_path`, or here when ModelArts is not enabled;
    then nothing else happens. `data_url` is copied to `data_path`, `checkpoint_url` to `load_path`, and to `resume`
    what an earlier job left at `train_url` to `output_path`; an empty URL is skipped. `upload_interval`: seconds
    between copies to `train_url` during the run; 0: none.
    Raises ReportedError when moxing is not there, or a copy fails although it was tried again. When the body raises,
    its error is the one that is passed on.
    """
    if not enable_modelarts:
        yield Path()
        return
    store, output = _Store(), Path(output_path)
    meeting = Meeting(meeting_place(data_url, train_url, checkpoint_url, data_path, output_path, load_path))
    if os.environ.get("MS_ROLE") == "MS_SCHED":
        # It runs the same command up to the start of its own work, reads what the ranks read, and has no results.
        meeting.watch()
        yield output
        return
    try:
        is_copier = meeting.elect()
        results = _Results(store, output, train_url, meeting.uploaded)
        if is_copier:
            with meeting.told():
                store.copy_in("data_url", data_url, "data_path", Path(data_path))
                store.copy_in("checkpoint_url", checkpoint_url, "load_path", Path(load_path))
                results.begin(resume=resume)
        try:
            with results.uploaded_every(upload_interval if is_copier else 0), last_act(results.upload):
                yield output
        except BaseException:
            try:
                results.upload()
            except ReportedError as error:
                get_logger().error("%s", error)
            raise
        results.upload()
    finally:
        meeting.leave()


class _Store:
    """The object storage, through moxing. A URL may also be a folder of the disk: moxing copies that as well."""

    def __init__(self) -> None:
        try:
            import moxing
        except ImportError as error:
            raise ReportedError(
                f"enable_modelarts needs the package moxing, which is part of ModelArts' images: {error}; "
                "elsewhere leave --enable_modelarts out (python -m src.doctor says what is there)"
            ) from error
        self._file = moxing.file

    def copy_in(self, key: str, url: str, path_key: str, target: Path, *, optional: bool = False) -> None:
        """Copy the folder or the file `url`, the value of `key`, into the folder `target`, the value of `path_key`.

        Raises ReportedError when it fails, or when there is nothing and it is not `optional`.
        """
        if not url:
            return
        try:
            target.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ReportedError(
                f"the folder {target} for {key} cannot be made: {error.strerror}; choose another --{path_key}"
            ) from error

        def copy() -> None:
            if self._file.exists(url) and not self._file.is_directory(url):
                self._file.copy(url, str(target / url.rsplit("/", 1)[-1]))
            elif self._file.exists(url) and self._file.list_directory(url):
                self._file.copy_parallel(url, str(target))
            elif not optional:
                raise ReportedError(
                    f"{key} {url} does not exist or is empty; check its name, the bucket's region and the job's right "
                    "to read it"
                )

        def advice() -> str:
            free = shutil.disk_usage(target).free / 1e9
            return f"{free:.1f} GB are free there; check the URL, the job's right to read it and the room on the disk"

        started = time.monotonic()
        _tried(f"cannot copy {key} {url} to {target}", copy, advice)
        get_logger().info("copied %s %s to %s in %.0f s", key, url, target, time.monotonic() - started)

    def copy_out(self, path: Path, target: str) -> None:
        """Copy one file."""
        if "://" not in target:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
        self._file.copy(str(path), target)


class _Results:
    """The files below `output`, and which of them are at `url` already: the ranks of a host share that in `state`."""

    def __init__(self, store: _Store, output: Path, url: str, state: TextIO) -> None:
        self.store, self.output, self.url, self.state = store, output, url, state

    def begin(self, *, resume: bool) -> None:
        """Make the folder, and to `resume` bring what is at the URL. A file that is here already stays as it is."""
        uploaded = {}
        temporary = self.output / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
        try:
            self.store.copy_in("train_url", self.url if resume else "", "output_path", temporary, optional=True)
            # moxing dates files with the time of the copy. As the names of run folders begin with their date, dates in
            # the order of the names let `--resume auto` find the run that began last, and older ones than all here.
            for second, name in enumerate(_files(temporary), start=1):
                target = self.output / name
                if not target.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    (temporary / name).rename(target)
                    os.utime(target, (second, second))
                    uploaded[name] = _mark(target)
            self.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ReportedError(
                f"output_path {self.output} cannot be written: {error.strerror}; choose another --output_path"
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        rewrite(self.state, json.dumps(uploaded))

    def upload(self, pauses: Sequence[float] | None = None) -> None:
        """Copy what has changed. Raises ReportedError when something could not be, also after `pauses` (seconds)."""
        with locked(self.state):
            uploaded = {}
            self.state.seek(0)
            with suppress(ValueError):  # a rank was killed while it wrote: everything is copied again
                uploaded = json.load(self.state)
            before = dict(uploaded)
            try:
                _tried(
                    f"cannot copy results from {self.output} to train_url {self.url}",
                    lambda: self._upload_changed(uploaded),
                    lambda: "they are still in output_path on this host; check the URL and the job's right to write",
                    pauses,
                )
            finally:
                rewrite(self.state, json.dumps(uploaded))
                changed = sum(before.get(name) != mark for name, mark in uploaded.items())
                if changed:
                    get_logger().info("results copied from %s to %s: %d files", self.output, self.url, changed)

    def _upload_changed(self, uploaded: dict[str, list[int]]) -> None:
        """Try each file; raise the first error at the end."""
        first_error = None
        for name in _files(self.output):
            path = self.output / name
            try:
                mark = _mark(path)  # before the copy: what is appended meanwhile is copied the next time
                if uploaded.get(name) != mark:
                    self.store.copy_out(path, f"{self.url.rstrip('/')}/{name}")
                    uploaded[name] = mark
            except Exception as error:
                if path.exists():  # else it was removed meanwhile, as old checkpoints are
                    first_error = first_error or error
        if first_error:
            raise first_error

    @contextmanager
    def uploaded_every(self, seconds: float) -> Iterator[None]:
        """Inside the `with`, upload in the background, at this interval; 0: never."""
        if not seconds:
            yield
            return
        over = threading.Event()

        def upload_until_over() -> None:
            while not over.wait(seconds):
                try:
                    self.upload(pauses=())  # the next interval is the next attempt
                except ReportedError as error:
                    get_logger().warning("%s", error)

        thread = threading.Thread(target=upload_until_over, name="upload", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def _tried(
    failure: str, action: Callable[[], None], advice: Callable[[], str], pauses: Sequence[float] | None = None
) -> None:
    """Run `action`, and again after each of `pauses` (seconds) when moxing fails; ReportedErrors pass at once."""
    pauses = _PAUSES if pauses is None else pauses
    for attempt, pause in enumerate((*pauses, None), start=1):
        try:
            action()
            return
        except ReportedError:
            raise
        except Exception as error:  # of whatever type moxing, or a client below it, raises
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            if pause is None or getattr(error, "errno", None) == errno.ENOSPC:
                times = f" ({attempt} attempts)" if attempt > 1 else ""
                raise ReportedError(f"{failure}: {reason}{times}; {advice()}") from error
            get_logger().warning("%s: %s; trying again in %g s", failure, reason, pause)
            time.sleep(pause)


def _files(folder: Path) -> list[str]:
    """The files below `folder` that are results, by relative path, sorted."""
    names = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(_NO_RESULTS)]
        names += [(Path(place) / name).relative_to(folder).as_posix() for name in files
                  if not name.startswith(_NO_RESULTS)]  # fmt: skip
    return sorted(names)


def _mark(path: Path) -> list[int]:
    """What changes with the file: its size in bytes and its time of change in nanoseconds."""
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]
