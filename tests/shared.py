"""What the workers of one test session make once together: trained networks, exports; and compiled programs, which
stay for later sessions.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest
from commands import ROOT

from src.ops.compile import compiler_version, find_compiler
from src.utils.own_folder import cache_folder

MOST_KEPT = 40  # a session has fifteen, of six megabytes each


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder `name` of this session, which `make` has filled: by the first worker that asks, the others wait.

    When `make` fails the next one tries again. Nobody may write to the folder afterwards.
    """
    root = factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root  # a worker's is below the session's
    folder, done = root / name, root / f"{name}.done"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            folder = folder if not folder.exists() else factory.mktemp(name)
            folder.mkdir(exist_ok=True)
            make(folder)
            done.write_text(str(folder))
    return Path(done.read_text())


def kept(words: Iterable[object], files: Iterable[Path], make: Callable[[Path], object]) -> Path:
    """The folder that `make` has filled, in this session or an earlier one: by the first that asks, the others wait.

    It is made anew when one of `words` (the compiler's flags), the contents of `files` (all that it is made of) or the
    compiler changes, or when `make` failed. It is in the user's cache, as the kernels; the longest unused go.
    """
    digest = hashlib.sha256(compiler_version(find_compiler()).encode())
    for part in (
        *(str(word).replace(str(ROOT), "").encode() for word in words),
        *(content(path) for path in sorted(files)),
    ):
        digest.update(hashlib.sha256(part).digest())
    root = cache_folder("tests")
    folder = root / digest.hexdigest()
    done = folder / ".done"
    with (root / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700)
            make(folder)
        done.touch()
    for old in sorted(root.glob("*/.done"), key=lambda path: path.stat().st_mtime)[:-MOST_KEPT]:
        shutil.rmtree(old.parent, ignore_errors=True)
        root.joinpath(f"{old.parent.name}.lock").unlink(missing_ok=True)
    return folder


def kept_program(
    compiler: Sequence[str], flags: Iterable[str], folders: Iterable[Path], *sources: Path, in_one_text: bool = False
) -> Path:
    """What `compiler` makes of `sources`, without a warning, with `flags` and what the `folders` hold to be included.

    in_one_text: the sources of the kernels are compiled as one, which takes half the time.
    """
    command = [*compiler, *flags, *(f"-I{folder}" for folder in folders)]

    def compile_to(folder: Path) -> None:
        files = [*sources]
        if in_one_text:
            files = [folder / "whole.cc"]
            files[0].write_text("".join(f'#include "{path}"\n#undef DENSENET_INSTANTIATE\n' for path in sources))
        done = subprocess.run([*command, "-o", folder / "a program", *files], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr

    included = {path for folder in folders for path in folder.rglob("*") if path.is_file()}
    return kept([*command, *sources, in_one_text], included | {*sources}, compile_to) / "a program"


def content(path: Path) -> bytes:
    """A source file with its name."""
    return path.name.encode() + b"\0" + path.read_bytes()
