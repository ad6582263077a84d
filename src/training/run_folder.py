"""The folder of one run: `<save_ckpt_path>/YYYY-MM-DD_time_HH_MM_SS/`, its lock, and finding where to resume."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from mindspore import nn

from src.model_utils.group import Group
from src.utils.checkpoint import (
    Checkpoint,
    checkpoints_to_evaluate,
    keep_last_open,
    load_checkpoint,
    load_weights,
    remove_leftovers,
)
from src.utils.checkpoint_arrays import Arrays, DamagedError, MissingError
from src.utils.checkpoint_names import CONFIG_NAME, list_checkpoints
from src.utils.errors import ReportedError, is_stderr_nowhere
from src.utils.files import NO_SUCH_FILE, is_folder
from src.utils.logging import get_logger
from src.utils.outside import open_ours
from src.utils.stamped import make_new, stamp_order, time_stamp

LOCK_NAME = ".lock"
MASTER = 0


def create_run_folder(root: Path, stamp: str) -> Path:
    """Make the new folder `root/stamp`; `_1`, `_2`, ... is added when another run took it.

    Raises ReportedError when the folder cannot be made.
    """
    try:
        return make_new(root / stamp, lambda path: path.mkdir(parents=True))
    except FileExistsError:  # a link that leads nowhere
        raise ReportedError(f"save_ckpt_path {root} is no folder and cannot become one; choose another path") from None
    except OSError as error:
        raise ReportedError(
            f"cannot create {root / stamp}: {error.strerror}; choose another --save_ckpt_path"
        ) from error


def log_name(command: str, rank: int) -> str:
    """The run's log file: train.log, and train_rank1.log, ... for the other ranks."""
    return f"{command}.log" if rank == 0 else f"{command}_rank{rank}.log"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Enter a folder that is removed at the end of the `with`, for what is to leave nothing behind."""
    with TemporaryDirectory(prefix="densenet_") as folder:
        yield Path(folder)


@contextmanager
def open_run_folder(root: Path, group: Group, checkpoint: Checkpoint | None = None, resume: str = "") -> Iterator[Path]:
    """Enter the folder of this run, locked: a new one under `root`, or that of the `checkpoint` to resume from.

    A checkpoint that is not the newest of its folder starts a new one, so that nothing newer is overwritten, if
    `resume`, what the user named, is this very file. The master chooses; a rank with another `root` has a folder of the
    same name there. A new folder in which nothing but logs was made is removed when an error ends the `with`. Raises
    ReportedError when it cannot be made, written to or locked.
    """
    chosen, is_new = None, False
    with ExitStack() as locks:

        def choose() -> str:
            nonlocal chosen, is_new
            chosen = _continued(checkpoint, resume, locks) if checkpoint else None
            if chosen is None:
                chosen, is_new = create_run_folder(root, time_stamp()), True
                locks.enter_context(locked(chosen))
            place, home = chosen.resolve(), root.resolve()
            return str(place.relative_to(home) if place.is_relative_to(home) else place)

        folder = root / group.from_master(choose)  # root / an absolute path is that path
        if not group.is_master:
            try:
                folder.mkdir(parents=True, exist_ok=True)  # on another host it is not there yet
            except OSError as error:
                raise ReportedError(
                    f"cannot create {folder}: {error.strerror}; choose another --save_ckpt_path"
                ) from error
        try:
            yield chosen or folder
        except (ReportedError, KeyboardInterrupt):
            if is_new and chosen:
                _remove_if_nothing_was_made(chosen)
            raise


def _remove_if_nothing_was_made(folder: Path) -> None:
    """Remove the new folder of a run that failed before it made anything. The reason was told, unless stderr leads
    nowhere: then the log is the only place that has it.
    """
    names = {path.name for path in folder.iterdir()}
    if all(name in (LOCK_NAME, CONFIG_NAME) or name.endswith(".log") for name in names) and not is_stderr_nowhere():
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. Raises ReportedError when another process trains in it or the folder is not writable."""
    try:
        descriptor = open_ours(folder / LOCK_NAME, os.O_RDWR)
    except OSError as error:
        raise ReportedError(
            f"cannot write {LOCK_NAME} in {folder}: {error.strerror}; choose another --save_ckpt_path"
        ) from error
    try:
        _lock(descriptor, folder, fcntl.LOCK_EX)
        remove_leftovers(folder)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path, kind: int) -> None:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ReportedError(f"another process is training in {folder}; wait for it or stop it first") from None
    except OSError as error:
        raise ReportedError(
            f"{folder} cannot be locked: {error.strerror}; choose another --save_ckpt_path, on a disk with locks"
        ) from error


def _require_idle(folder: Path) -> None:
    """Raise ReportedError when a process trains in `folder`, which need not be writable."""
    try:
        descriptor = os.open(folder / LOCK_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # nobody could have locked it
        return
    try:
        # Shared: two that ask do not meet, and over NFS an exclusive lock takes a file that is open for writing.
        _lock(descriptor, folder, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _continued(checkpoint: Checkpoint, resume: str, locks: ExitStack) -> Path | None:
    """The run folder of `checkpoint`, whose lock goes into `locks`, when going on in it overwrites nothing; else None.

    What was read there and found damaged is renamed `*.damaged`: kept, but never chosen.
    """
    folder = checkpoint.path.parent
    if not _is_run(folder):
        return None
    if checkpoint.path not in list_checkpoints(folder, MASTER):
        _require_idle(folder)
        return None
    with ExitStack() as lock:
        lock.enter_context(locked(folder))  # only now does nobody else write there
        found, damaged = list_checkpoints(folder, MASTER), []
        for path in found[: found.index(checkpoint.path)] if checkpoint.path in found else found:
            if _valid(path):
                if not resume or Path(resume) == checkpoint.path:
                    return None
                raise ReportedError(
                    f"another process trained in {folder} meanwhile, up to {path.name}; start the command again"
                )
            damaged.append(path)
        for path in damaged:
            _set_aside(path)
        locks.push(lock.pop_all())
    return folder


def share_checkpoints_to_evaluate(path: Path, group: Group) -> list[Checkpoint]:
    """What the master finds to evaluate (see `checkpoints_to_evaluate`), on every rank, in the same order.

    One that is gone before every rank has opened it is passed over. Raises ReportedError on all ranks.
    """
    found: list[Checkpoint] = []

    def find() -> str:
        found.extend(checkpoints_to_evaluate(path))
        return json.dumps([str(checkpoint.path) for checkpoint in found])

    paths = json.loads(group.from_master(find))
    if group.world_size == 1:
        return found
    opened: list[Checkpoint | None] = list(found)
    for text in () if found else paths:
        opened.append(_open_if_there(Path(text)))
        keep_last_open(opened)
    everywhere = [checkpoint for checkpoint in opened if not group.any(checkpoint is None)]
    if not everywhere:
        raise ReportedError(f"the checkpoints in {path} were removed before every rank had opened them; start again")
    return everywhere


def load_on_all(network: nn.Cell, checkpoint: Checkpoint, group: Group, weights: str = "auto") -> bool:
    """`load_weights` on every rank, after which the file is closed; False, with a line in the log, when it has gone or
    was replaced before every rank had read it.
    """
    try:
        load_weights(network, checkpoint, weights=weights)
        gone = False
    except MissingError as error:
        get_logger().warning("passing over %s: %s", checkpoint.path, error)
        gone = True
    checkpoint.arrays.close()
    return not group.any(int(gone))


def _open_if_there(path: Path) -> Checkpoint | None:
    try:
        return load_checkpoint(path)
    except MissingError:
        get_logger().warning("passing over %s: it was removed meanwhile", path)
        return None


def share_checkpoint(resume: str, root: Path, group: Group) -> Checkpoint | None:
    """The checkpoint that the master's `--resume` means, as `find_checkpoint` on the master; None when it is empty.

    The other ranks, which may not see the file, get its metadata without the arrays. Raises ReportedError on all.
    """
    found = None

    def find() -> str:
        nonlocal found
        found = find_checkpoint(resume, root, MASTER) if resume else None
        return json.dumps({"path": str(found.path), "metadata": found.metadata}) if found else ""

    text = group.from_master(find)
    if found or not text:
        return found
    shared = json.loads(text)
    path = Path(shared["path"])
    return Checkpoint(path, Arrays(path, None, {}), shared["metadata"])


def find_checkpoint(resume: str, root: Path, rank: int) -> Checkpoint | None:
    """The checkpoint that `--resume` means.

    A file: that one. A run folder: its newest valid one. `auto`: the newest valid one of all run folders under `root`,
    newest run first by the time in its name, or None when there is none yet. Damaged files are passed over with a
    warning. Raises ReportedError when a named file or folder holds no checkpoint that can be resumed from, and when
    one that could be newer cannot be read or is of a run that still trains.
    """
    if resume == "auto":
        for folder in _runs(root):
            _require_idle(folder)
            if found := _newest_valid(folder, rank):
                return found
        return None
    path = Path(resume)
    if not is_folder(path):
        checkpoint = load_checkpoint(path)
    elif not (checkpoint := _newest_valid(path, rank)):
        raise ReportedError(
            f"{path} holds no valid checkpoint {rank}-EPOCH_STEP.ckpt to resume from; "
            "give a run folder, a checkpoint or auto"
        )
    checkpoint.require("progress")
    return checkpoint


def _runs(root: Path) -> list[Path]:
    """The run folders in `root`, newest first."""
    try:
        names = [path.name for path in root.iterdir()]
    except OSError as error:
        if error.errno in NO_SUCH_FILE:
            return []
        raise ReportedError(f"{root} cannot be read: {error.strerror}; name the run to resume, not auto") from error
    return [folder for name in sorted(names, key=stamp_order, reverse=True) if _is_run(folder := root / name)]


def _is_run(folder: Path) -> bool:
    """Whether train.py made this folder. Raises ReportedError when that cannot be told."""
    try:
        (folder / CONFIG_NAME).stat()
    except OSError as error:
        if error.errno in NO_SUCH_FILE:
            return False
        raise ReportedError(f"{folder} cannot be read: {error.strerror}; try again when it can be read") from error
    return True


def _set_aside(path: Path) -> None:
    def rename(target: Path) -> None:
        if os.path.lexists(target):
            raise FileExistsError
        path.rename(target)

    try:
        target = make_new(path.with_name(path.name + ".damaged"), rename)
    except OSError as error:
        raise ReportedError(f"{path} is damaged and cannot be renamed: {error.strerror}; remove it") from error
    get_logger().warning("%s is damaged and was set aside as %s", path.name, target.name)


def _newest_valid(folder: Path, rank: int) -> Checkpoint | None:
    for path in list_checkpoints(folder, rank):
        if checkpoint := _valid(path):
            return checkpoint
        get_logger().warning("passing over %s: it is damaged or gone", path)
    return None


def _valid(path: Path) -> Checkpoint | None:
    """None for what is damaged, no checkpoint of a run, or gone. Raises ReportedError when it cannot be read."""
    try:
        checkpoint = load_checkpoint(path)
    except (DamagedError, MissingError):
        return None
    return checkpoint if "progress" in checkpoint.metadata else None
