"""DenseNet for MindSpore. Importing this package prepares the process, whatever the entry point.

MindSpore 2.10's bundled oneDNN runs every k x k convolution as unoptimised reference code when it may use AVX-512;
limited to AVX2 it takes its `gemm:jit` path, about seven times faster for a DenseNet training step. oneDNN reads
the variable once, at the first operator, so it has to be set here and not in a function. A value set by the user wins.

MindSpore warns at each graph that it takes from a cache, and prints two errors at each empty one, by which
`src/utils/graph_cache.py` tells it that there is none; that file's own lines say it. What CORE calls an error is raised
as an exception too.
"""

import os
import re
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
os.environ.setdefault("MS_SUBMODULE_LOG_v", "{PIPELINE:3,CORE:4}")


def _open_standard_streams() -> None:
    """Give a process that was started without some of them (`>&-`) such as lead nowhere. Otherwise the first files
    that it opens would get their numbers, and with these all that MindSpore prints.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, errors="backslashreplace", closefd=False))  # noqa: SIM115


def _refuse_numpy_2() -> None:
    """MindSpore 2.10 was built against NumPy 1; with 2 it prints pages before it fails. NumPy is not imported for this:
    there are commands that take none.
    """
    spec = find_spec("numpy")
    for place in spec.submodule_search_locations or () if spec else ():
        with suppress(OSError):
            text = Path(place, "version.py").read_text("utf-8")
            found = re.search(r'^version = "(\d+)\.', text, re.MULTILINE)
            if found and int(found[1]) >= 2:
                sys.exit(
                    f"error: found NumPy {found[1]} in {place}, but MindSpore 2.10 works with NumPy 1 only; "
                    f"install it: {sys.executable} -m pip install 'numpy>=1.25,<2' (python -m src.doctor says more)"
                )


_open_standard_streams()
if "src.doctor" not in sys.orig_argv:  # which imports none, and has a row about it
    _refuse_numpy_2()
