"""An exported model and its description take their names together, and never those of other files."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from src.deploy.manifest import Manifest, has_manifest, manifest_path, write_manifest
from src.utils.files import appeared, move_new, require_new, written_beside


def require_new_model(path: Path) -> None:
    """Raise UsageError, before the work, when `publish` could not write the model `path` after it."""
    require_new(path)
    if not _is_left_over(path):
        require_new(manifest_path(path))


def publish(made: Path, manifest: Manifest, path: Path) -> None:
    """Copy the model `made` to `path` and describe it beside; nothing is replaced that appeared there meanwhile.

    The description is written first, so that no model is ever without one: killed right then, it lacks its model, and
    the next export to `path` replaces it. Raises ReportedError when the disk refuses or something appeared; neither
    file is left then.
    """
    description = manifest_path(path)
    with written_beside(path, lambda temporary: shutil.copyfile(made, temporary)) as model, _locked(path.parent):
        in_the_way = [path, *([] if _is_left_over(path) else [description])]
        for file in filter(os.path.lexists, in_the_way):
            raise appeared(file)
        write_manifest(manifest, path, model)
        inode = model.stat().st_ino
        try:
            move_new(model, path)
        except BaseException:  # not always: there are disks that number a file anew when its name changes
            if not (os.path.lexists(path) and path.lstat().st_ino == inode):
                description.unlink()
            raise


def _is_left_over(path: Path) -> bool:
    """Whether a description lies at `path` whose export was killed before the model took its name."""
    return not os.path.lexists(path) and has_manifest(path)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One export at a time gives files in `folder` their names.

    Where a network disk locks no folders, `move_new` alone decides which of two exports to one path wins.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
