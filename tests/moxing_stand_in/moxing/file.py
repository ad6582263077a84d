"""What this project uses of `mox.file`."""

import errno
import os
import shutil
import time
from pathlib import Path

_SCHEME = "obs://"


def exists(url: str) -> bool:
    return _place(url).exists()


def is_directory(url: str) -> bool:
    return _place(url).is_dir()


def list_directory(url: str) -> list[str]:
    return sorted(path.name for path in _place(url).iterdir())


def copy(src_url: str, dst_url: str) -> None:
    """One file. In a bucket folders come into being with their files, on the disk they have to be there."""
    source, target = _place(src_url), _place(dst_url)
    if source.is_dir():
        raise ValueError(f"{src_url} is a directory; use copy_parallel")
    _call("copy", src_url, dst_url, source, target)
    _copy_file(source, target, make_folders=dst_url.startswith(_SCHEME))


def copy_parallel(src_url: str, dst_url: str) -> None:
    """What is in a folder, into another, over what is there. Empty folders are not copied: a bucket has none."""
    source, target = _place(src_url), _place(dst_url)
    files = [path for path in sorted(source.rglob("*")) if path.is_file()]
    if not files:
        raise RuntimeError("No files to copy")
    _call("copy_parallel", src_url, dst_url, files[0], target / files[0].relative_to(source))
    for path in files:
        _copy_file(path, target / path.relative_to(source), make_folders=True)


def _place(url: str) -> Path:
    if url.startswith(_SCHEME):
        return Path(os.environ["MOXING_STAND_IN"], url.removeprefix(_SCHEME))
    return Path(url)


def _copy_file(source: Path, target: Path, *, make_folders: bool) -> None:
    if make_folders:
        target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _call(name: str, src_url: str, dst_url: str, first: Path, first_target: Path) -> None:
    """Write the call down and go wrong as asked for, perhaps with half of its first file copied."""
    log = Path(os.environ["MOXING_STAND_IN"], "calls.log")
    with log.open("a") as file:
        file.write(f"{name}|{src_url}|{dst_url}\n")
    words = os.environ.get("MOXING_STAND_IN_FAULTS", "").split()
    faults = dict(word.partition("=")[::2] for word in words)
    time.sleep(float(faults.get("slow", 0)))
    is_early = len(log.read_text().splitlines()) <= int(faults.get("first", 0))
    if not (is_early or ("always" in faults and faults["always"] in src_url + dst_url)):
        return
    if "half" in faults:
        first_target.parent.mkdir(parents=True, exist_ok=True)
        content = first.read_bytes()
        first_target.write_bytes(content[: len(content) // 2])
    if "full" in faults:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(first_target))
    raise ConnectionError(f"Failed to call: func=getObject args=({src_url!r},)\nrequest timed out")
