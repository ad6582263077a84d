"""src/ops/cpp: a room includes only those above it, and which convolution a number gets is decided in two files."""

import re

from src.ops.build import SOURCES

ROOMS = ["base", "map", "products", "convolutions", "parts", ""]  # as docs/kernels.md lists them; "": the operators
DECIDE = {"products/engine.h", "convolutions/convolutions.h"}


def test_rooms_include_only_those_above_them():
    files = [path for path in SOURCES.rglob("*") if path.suffix in (".h", ".cc")]
    assert len(files) > 30
    for path in files:
        room = path.parent.relative_to(SOURCES).as_posix().strip(".")
        for included in re.findall(r'#include "([^"]+)"', path.read_text()):
            assert (SOURCES / included).is_file(), f"{path} includes {included} not from the sources' folder"
            from_room = included.rpartition("/")[0]
            assert ROOMS.index(from_room) <= ROOMS.index(room), f"{path} includes {included}"


def test_explicit_specialisations_stand_in_the_files_that_decide():
    """One in another header would decide for those files that include it, and differently for the others."""
    specialising = {
        path.relative_to(SOURCES).as_posix() for path in SOURCES.rglob("*.h") if "template <>" in path.read_text()
    }
    assert specialising == DECIDE


def test_mindspore_is_known_in_one_file():
    """Its calling convention is arrays of pointers and of shapes."""
    knowing = {path.relative_to(SOURCES).as_posix() for path in SOURCES.rglob("*.cc") if "void**" in path.read_text()}
    assert knowing == {"operators.cc"}
