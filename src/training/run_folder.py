"""The folder of one run: `<save_ckpt_path>/YYYY-MM-DD_time_HH_MM_SS/`, its lock, and finding where to resume."""

import fcntl
import json
from contextlib import contextmanager
from pathlib import Path

from src.model_utils.config import CONFIG_NAME
from src.model_utils.group import Group
from src.utils.checkpoint import Checkpoint, load_checkpoint, remove_leftovers
from src.utils.checkpoint_names import list_checkpoints
from src.utils.errors import ReportedError
from src.utils.files import is_folder
from src.utils.logging import get_logger
from src.utils.stamped import make_new, time_stamp

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
def open_run_folder(root: Path, group: Group, checkpoint: Checkpoint | None = None):
    """Enter the folder of this run, locked: a new one under `root`, or that of the `checkpoint` to resume from.

    A checkpoint that is not the newest of its folder starts a new one, so that nothing newer is overwritten. The master
    chooses; a rank with another `root` has a folder of the same name there. Raises ReportedError when it cannot be
    made, written to or locked.
    """
    chosen = None

    def choose() -> str:
        nonlocal chosen
        chosen = folder_to_continue(checkpoint, MASTER) if checkpoint else None
        if chosen is None:
            chosen = create_run_folder(root, time_stamp())
        place, home = chosen.resolve(), root.resolve()
        return str(place.relative_to(home) if place.is_relative_to(home) else place)

    folder = root / group.from_master(choose)  # root / an absolute path is that path
    if not group.is_master:
        try:
            folder.mkdir(parents=True, exist_ok=True)  # on another host it is not there yet
        except OSError as error:
            raise ReportedError(f"cannot create {folder}: {error.strerror}; choose another --save_ckpt_path") from error
        yield folder
        return
    with locked(chosen):
        if checkpoint and checkpoint.path.parent == chosen:
            set_damaged_aside(chosen, checkpoint, MASTER)
        yield chosen


@contextmanager
def locked(folder: Path):
    """Hold the folder's lock. Raises ReportedError when another process trains in it or the folder is not writable."""
    try:
        lock = (folder / LOCK_NAME).open("w")
    except OSError as error:
        raise ReportedError(f"cannot write in {folder}: {error.strerror}; choose another --save_ckpt_path") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ReportedError(f"another process is training in {folder}; wait for it or stop it first") from None
        remove_leftovers(folder)
        yield


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
    return Checkpoint(Path(shared["path"]), {}, shared["metadata"])


def find_checkpoint(resume: str, root: Path, rank: int) -> Checkpoint | None:
    """The checkpoint that `--resume` means.

    A file: that one. A run folder: its newest valid one. `auto`: the newest valid one of all run folders under `root`,
    newest run first, or None when there is none yet. Damaged files are passed over with a warning.
    Raises ReportedError when a named file or folder holds no checkpoint that can be resumed from.
    """
    if resume == "auto":
        folders = sorted((p.parent for p in root.glob(f"*/{CONFIG_NAME}")), key=_age, reverse=True)
        return next((found for folder in folders if (found := _newest_valid(folder, rank))), None)
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


def folder_to_continue(checkpoint: Checkpoint, rank: int) -> Path | None:
    """The run folder that `checkpoint` lies in, when going on in it overwrites nothing that is newer; else None."""
    folder, found = checkpoint.path.parent, list_checkpoints(checkpoint.path.parent, rank)
    if checkpoint.path not in found or not (folder / CONFIG_NAME).is_file():
        return None
    newer = found[: found.index(checkpoint.path)]
    return None if any(_valid(path) for path in newer) else folder


def set_damaged_aside(folder: Path, checkpoint: Checkpoint, rank: int) -> None:
    """Rename the damaged checkpoints that are newer than `checkpoint` to `*.damaged`: kept, but never chosen."""
    for path in list_checkpoints(folder, rank):
        if path == checkpoint.path:
            return
        target = path.with_name(path.name + ".damaged")
        path.replace(target)
        get_logger().warning("%s is damaged and was set aside as %s", path.name, target.name)


def _newest_valid(folder: Path, rank: int) -> Checkpoint | None:
    for path in list_checkpoints(folder, rank):
        checkpoint = _valid(path)
        if checkpoint:
            return checkpoint
        get_logger().warning("passing over %s: it is damaged", path)
    return None


def _valid(path: Path) -> Checkpoint | None:
    try:
        checkpoint = load_checkpoint(path)
    except ReportedError:
        return None
    return checkpoint if "progress" in checkpoint.metadata else None


def _age(folder: Path) -> float:
    newest = max((p.stat().st_mtime for p in folder.glob("*.ckpt")), default=0.0)
    return newest or folder.stat().st_mtime
