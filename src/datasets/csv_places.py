"""Where the pictures of a CSV file are: at the paths that it says, or, of bare names, anywhere below its folder."""

import os
from pathlib import Path

from src.datasets.listing import MISSING, LeftOut, is_system_folder
from src.utils.files import NO_SUCH_FILE
from src.utils.shown import printable


class Places:
    """The pictures below `root` that the CSV file `path` names. skips_missing: see `Reading`."""

    def __init__(self, path: Path, root: Path, *, skips_missing: bool) -> None:
        self._path, self._root, self._skips_missing = path, root, skips_missing
        self._by_name: dict[str, str] | None = None
        self.left_out = LeftOut()

    def spelt(self, name: str) -> str:
        """`name` with this system's separators, where it is a path of Windows."""
        is_foreign = "\\" in name and not os.path.isfile(self._root / name)  # noqa: PTH113
        return name.replace("\\", "/") if is_foreign else name

    def find(self, name: str) -> tuple[str, str]:
        """The path of a picture from the root, empty for one that is left out; or, in words, why there is none."""
        if os.path.isfile(self._root / name):  # noqa: PTH113
            return name, ""
        if "/" not in name:
            if self._by_name is None:
                self._by_name = _files_below(self._root)
            if place := self._by_name.get(name):
                return place, ""
            if place == "":
                return "", f"{printable(name)} is in several folders of {printable(self._root)}; write the path"
        if self.is_skipped(name):
            return "", ""
        return "", f"there is no file {printable(self._root / name)[-300:]}{self.advice(name)}"

    def is_skipped(self, name: str) -> bool:
        """Count it where it is left out: what a disk refuses to tell may be a sound picture, and is not."""
        if not self._skips_missing:
            return False
        try:
            (self._root / name).stat()
        except OSError as error:
            if error.errno in NO_SUCH_FILE:
                self.left_out.add(MISSING, self._root / name)
                return True
        return False

    def advice(self, name: str) -> str:
        """The end of a sentence about what is not there."""
        for parent in list(self._path.resolve().parents)[:4]:
            if os.path.exists(parent / name):  # noqa: PTH110
                return f"; give --image_root {printable(parent)}"
        return "; paths are relative to the CSV file's folder or --image_root"


def _files_below(root: Path) -> dict[str, str]:
    """The path from `root` of each file in its folders by its name, empty for a name that is there twice."""
    found: dict[str, str] = {}
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not is_system_folder(name)]
        inner = os.path.relpath(folder, root)
        for name in files:
            found[name] = "" if name in found else f"{inner}/{name}"
    return found
