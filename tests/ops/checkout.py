"""A copy of the project whose kernels compile in no time, for the tests of how they are compiled and kept."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from commands import ROOT

from src.ops import build
from src.ops.library_cache import LIBRARY_NAME

# A kernel of MindSpore's ahead-of-time form: y = 2 x.
TWICE = """#include "twice.h"
extern "C" int twice(int, void** tensors, int* ranks, int64_t** shapes, const char**, void*, void*) {
  int64_t size = 1;
  for (int i = 0; i < ranks[0]; ++i) size *= shapes[0][i];
  for (int64_t i = 0; i < size; ++i) static_cast<float*>(tensors[1])[i] = 2 * static_cast<const float*>(tensors[0])[i];
  return 0;
}
"""
BEST = build.instruction_sets()[0]
USED = f"the C++ kernels are used: {BEST}, "
NOT_USED = "error: the C++ kernels are not used: "


def write_sources(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "twice.cc").write_text(TWICE)
    (folder / "twice.h").write_text("#include <cstdint>\n")
    return folder


class Checkout:
    """A copy of the project whose kernels compile in no time, with a user's home beside it."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder, self.home = root, root / "my checkout", root / "my home"
        shutil.copytree(ROOT / "src", self.folder / "src", ignore=shutil.ignore_patterns("cpp", "__pycache__"))
        self.sources = write_sources(self.folder / "src/ops/cpp")
        self.home.mkdir()
        self.temporary = root / "my tmp"
        self.temporary.mkdir()
        self.kernels = self.home / ".cache/densenet-mindspore/kernels"

    def start(self, *command: str, **variables: str | None) -> subprocess.Popen:
        """Start `python -m src.ops.build --check` or `python command...`; a variable that is None is not set."""
        mine = {"HOME": str(self.home), "TMPDIR": str(self.temporary), "PYTHONDONTWRITEBYTECODE": "1"}
        unset = {"XDG_CACHE_HOME": None, "CXX": None, build.ISA_VARIABLE: None, "MS_CUSTOM_AOT_WHITE_LIST": None}
        environment = os.environ | unset | mine | variables
        return subprocess.Popen(
            [sys.executable, *(command or ("-m", "src.ops.build", "--check"))],
            cwd=self.folder,
            env={name: value for name, value in environment.items() if value is not None},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def check(self, *command: str, **variables: str | None) -> str:
        """What the command finds in the end: its last line."""
        out, err = self.start(*command, **variables).communicate(timeout=100)
        return (err or out).splitlines()[-1]

    def libraries(self) -> list[Path]:
        return sorted(self.kernels.glob(f"*/{LIBRARY_NAME}"))

    def compiler(self, script: str) -> str:
        """A compiler of ours, for CXX: g++ after `script`, in which $library is what it is to write."""
        path = self.root / "compiler"
        path.write_text(f"""#!/bin/sh
cd '{self.root}'
[ "$1" = --version ] && exec g++ "$@"
case " $* " in *" -c "*) exec g++ "$@" ;; esac  # one of several sources; what follows is for the library
echo compiles >>calls
previous= library=
for word; do [ "$previous" = -o ] && library="$word"; previous="$word"; done
{script}
exec g++ "$@"
""")
        path.chmod(0o755)
        return f"'{path}'"

    def calls(self) -> int:
        return len((self.root / "calls").read_text().splitlines())


def wait_for(path: Path) -> None:
    patience = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < patience, f"{path} does not come"
        time.sleep(0.02)
