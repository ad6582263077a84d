#!/usr/bin/env python3
"""Write requirements-lock.txt and requirements-dev-lock.txt: the tested versions, with the SHA-256 of their files.

python scripts/lock_requirements.py

With the interpreter of .venv: the versions are those installed beside the one that runs this. Run it where the tests
have passed, with Python 3.11 on x86-64 Linux, whenever a requirement has changed. The hashes are those that pip names
for that platform, of machines with an older C library too. PyTorch is not locked: its builds for CPUs and for CUDA are
different files of one version, and the tests may take either.
"""

import json
import platform
import subprocess
import sys
import tempfile
from collections import deque
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
LOCKS = {"requirements.txt": "requirements-lock.txt", "requirements-dev.txt": "requirements-dev-lock.txt"}
GLIBC = (28, 34)  # 2.28, ...: those that wheels are made for; some of the packages have none for older ones
HEADER = "# Made by scripts/lock_requirements.py for Python 3.11 on x86-64 Linux; not to be edited by hand.\n"


def main() -> None:
    """Write the files."""
    if (sys.version_info[:2], sys.platform, platform.machine()) != ((3, 11), "linux", "x86_64"):
        sys.exit("error: the lock file is that of Python 3.11 on x86-64 Linux; run this there")
    versions = installed(requirements(ROOT / "requirements-dev.txt"))
    hashes: dict[str, set[str]] = {name: set() for name in versions}
    for glibc in (None, *GLIBC):
        for name, digest in wheels([f"{name}=={version}" for name, version in versions.items()], glibc):
            hashes[name].add(digest)
    for source, lock in LOCKS.items():
        lines = [HEADER]
        for name, version in sorted(installed(requirements(ROOT / source)).items()):
            lines.append(f"{name}=={version}")
            lines += [f" \\\n    --hash=sha256:{digest}" for digest in sorted(hashes[name])] + ["\n"]
        (ROOT / lock).write_text("".join(lines), "utf-8")
        print(f"{lock}: {len(lines)} lines")


def requirements(path: Path) -> list[Requirement]:
    """What a requirements file asks for, and those that it names."""
    found = []
    for line in path.read_text("utf-8").splitlines():
        words = line.partition(" #")[0].strip()
        if words.startswith("-r "):
            found += requirements(path.parent / words.removeprefix("-r ").strip())
        elif words and not words.startswith("#"):
            found.append(Requirement(words))
    return found


def installed(wanted: list[Requirement]) -> dict[str, str]:
    """The installed version of each of them, and of all that these need, by canonical name."""
    versions: dict[str, str] = {}
    queue = deque(wanted)
    while queue:
        requirement = queue.popleft()
        name = canonicalize_name(requirement.name)
        if name in versions or not (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            continue
        found = metadata.distribution(name)
        if not requirement.specifier.contains(found.version, prereleases=True):
            sys.exit(f"error: {name} {found.version} is installed, but {requirement} is asked for; install that first")
        versions[name] = found.version
        queue += [Requirement(text) for text in found.requires or ()]
    return versions


def wheels(pinned: list[str], glibc: int | None) -> list[tuple[str, str]]:
    """The name of each of `pinned` and the SHA-256 of the wheel that pip takes, here or where glibc is 2.`glibc`."""
    with tempfile.TemporaryDirectory() as target:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--no-deps"]
        command += ["--only-binary=:all:", "--report=-"]
        if glibc:
            names = [f"manylinux_2_{minor}_x86_64" for minor in range(glibc, 4, -1)]
            names += ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64", "linux_x86_64"]
            command += [f"--target={target}", *(f"--platform={name}" for name in names)]
        done = subprocess.run([*command, *pinned], stdout=subprocess.PIPE, check=True)  # noqa: S603
    return [
        (canonicalize_name(one["metadata"]["name"]), one["download_info"]["archive_info"]["hashes"]["sha256"])
        for one in json.loads(done.stdout)["install"]
    ]


if __name__ == "__main__":
    main()
