"""Which of a network's outputs a data set's classes belong to: every kind of data beside every kind of names.

Whatever is not an error here ends in counts: a wrong number in this table would be a wrong accuracy with exit status 0.
"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.datasets.cifar10 import CLASS_NAMES
from src.datasets.class_names import unnamed_classes
from src.datasets.sources import open_source
from src.utils.errors import ReportedError

UNKNOWN, COUNT = "that the network does not know", "labels of [0-9]+ classes, but the network knows"
GUESS = "a guess"
TAKEN_FOR_NUMBERS = "which nothing confirms"
DIGITS = tuple("0123456789")
NUMBERED = tuple(str(i) for i in range(14))
AS_TEXT = tuple(sorted(NUMBERED))  # 0, 1, 10, 11, ...: the outputs of a network whose folders were sorted as text
NFC, NFD = "M\u00fcller", "Mu\u0308ller"


def folders(root: Path, names) -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
        Image.new("L", (8, 8)).save(root / name / f"{name}.png")
    return root


def open_data(kind: str, classes, root: Path, known):
    """One picture a class, in the order of `classes`; the output that each is counted for, and what is said."""
    if kind in ("folder", "imagenet"):
        source = open_source(kind, folders(root, classes), split="eval", class_names=known)
        place = {Path(source.image_name(i)).stem: i for i in range(len(source))}
        return [int(source.labels[place[name]]) for name in classes], source.guess
    if kind == "list":
        folders(root, ["of"])
        (root / "list.txt").write_text("".join(f"of/of.png {label}\n" for label in classes))
        source = open_source("list", root / "list.txt", split="eval", class_names=known)
        return source.labels.tolist(), source.guess
    if kind == "cifar10":
        records = np.zeros((10, 3073), np.uint8)
        records[:, 0] = range(10)
        root.joinpath("test_batch.bin").write_bytes(records.tobytes())
    own, source = (open_source(kind, root, split="eval", class_names=names) for names in (None, known))
    return [int(source.labels[own.labels == label][0]) for label in range(10)], source.guess


A_B_C = ("ant", "bee", "cat")
TABLE = [
    # class folders
    ("folder", A_B_C, A_B_C, [0, 1, 2], ""),
    ("imagenet", A_B_C, ("cat", "bee", "ant"), [2, 1, 0], ""),
    ("folder", ("ant", "cat"), A_B_C, [0, 2], ""),
    ("folder", A_B_C, ("ant", "cat"), UNKNOWN, ""),
    ("folder", A_B_C, ("ant", "bee", "cow"), UNKNOWN, ""),
    ("folder", ("ant", "unused_2"), ("ant", "bee", "unused_2"), UNKNOWN, ""),
    ("folder", A_B_C, ("ant", "bee", "cat", "unused_3"), [0, 1, 2], ""),
    ("folder", (NFD,), (NFC, "ant"), [0], ""),
    ("folder", (NFC,), ("ant", NFD), [1], ""),
    ("folder", ("cat", "Cat"), ("Cat", "cat"), [1, 0], ""),
    ("folder", A_B_C, unnamed_classes(3), [0, 1, 2], GUESS),
    ("folder", A_B_C, unnamed_classes(4), COUNT, ""),
    ("folder", ("ant", "bee"), unnamed_classes(3), COUNT, ""),
    ("folder", ("class_2", "class_0"), unnamed_classes(3), [2, 0], ""),
    ("folder", NUMBERED, unnamed_classes(14), list(range(14)), ""),
    ("folder", (*NUMBERED[1:], "14"), unnamed_classes(14), list(range(14)), GUESS),
    ("folder", NUMBERED, AS_TEXT, [AS_TEXT.index(name) for name in NUMBERED], ""),
    ("folder", ("07", "1"), ("1", "7"), [1, 0], ""),
    ("folder", ("7", "x"), ("07", "x"), UNKNOWN, ""),
    ("folder", DIGITS, CLASS_NAMES, UNKNOWN, ""),
    ("folder", CLASS_NAMES, DIGITS, UNKNOWN, ""),
    ("folder", ("3", "7"), DIGITS, [3, 7], ""),
    # a list: its labels are numbers of outputs, but the network's own numbers where it has such names
    ("list", (0, 1, 2), ("0", "1", "2"), [0, 1, 2], ""),
    ("list", (2, 0), ("0", "1", "2"), [2, 0], ""),
    ("list", (0, 3), ("0", "1", "2"), COUNT, ""),
    ("list", (0, 2), ("0", "1", "unused_2"), COUNT, ""),
    ("list", (10, 2), AS_TEXT, [2, 6], ""),
    ("list", (1, 2, 3), ("3", "2", "1"), [2, 1, 0], ""),
    ("list", (0, 2), A_B_C, [0, 2], TAKEN_FOR_NUMBERS),
    ("list", (1, 3), A_B_C, COUNT, ""),
    ("list", (0, 2), unnamed_classes(3), [0, 2], ""),
    ("list", (3,), unnamed_classes(3), COUNT, ""),
    # CIFAR-10 and the digits have names of their own
    ("cifar10", CLASS_NAMES, CLASS_NAMES, list(range(10)), ""),
    ("cifar10", CLASS_NAMES, CLASS_NAMES[::-1], list(range(9, -1, -1)), ""),
    ("cifar10", CLASS_NAMES, CLASS_NAMES[:9], COUNT, ""),
    ("cifar10", CLASS_NAMES, ("zebra", *CLASS_NAMES), list(range(1, 11)), ""),
    ("cifar10", CLASS_NAMES, tuple("abcdefghij"), UNKNOWN, ""),
    ("cifar10", CLASS_NAMES, DIGITS, UNKNOWN, ""),
    ("cifar10", CLASS_NAMES, unnamed_classes(10), list(range(10)), GUESS),
    ("cifar10", CLASS_NAMES, unnamed_classes(11), COUNT, ""),
    ("digits", DIGITS, DIGITS, list(range(10)), ""),
    ("digits", DIGITS, DIGITS[::-1], list(range(9, -1, -1)), ""),
    ("digits", DIGITS, AS_TEXT, [AS_TEXT.index(name) for name in DIGITS], ""),
    ("digits", DIGITS, DIGITS[:9], COUNT, ""),
    ("digits", DIGITS, CLASS_NAMES, UNKNOWN, ""),
    ("digits", DIGITS, unnamed_classes(10), list(range(10)), ""),
]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "classes", "known", "expected", "said"), TABLE)
def test_the_outputs_of_a_data_set_s_classes(kind, classes, known, expected, said, tmp_path):
    if isinstance(expected, str):
        with pytest.raises(ReportedError, match=expected):
            open_data(kind, classes, tmp_path, known)
        return
    outputs, guess = open_data(kind, classes, tmp_path, known)
    assert outputs == expected
    assert said in guess
    assert bool(said) == bool(guess)


@pytest.mark.parametrize(
    "names", [("cat\u200b", "cat\u00a0"), (NFC, NFD), ("a\nb", "a\tb")], ids=["invisible", "unicode", "line"]
)
def test_classes_that_look_the_same_are_an_error(names, tmp_path):
    folders(tmp_path, names)
    with pytest.raises(ReportedError, match="has 2 classes whose names look the same, "):
        open_source("folder", tmp_path, split="train")


def test_folders_called_by_numbers_are_in_the_order_of_the_numbers(tmp_path):
    source = open_source("folder", folders(tmp_path / "a", NUMBERED), split="train")
    assert source.class_names == NUMBERED
    assert source.labels.tolist() == list(range(14))
    mixed = open_source("folder", folders(tmp_path / "b", ("10", "9", "x")), split="train")
    assert mixed.class_names == ("10", "9", "x"), "some numbers among names are names"


def test_a_network_with_two_classes_of_one_name_cannot_be_matched(tmp_path):
    folders(tmp_path, ("ant", "cat"))
    with pytest.raises(ReportedError, match="the network has several classes that are called 'cat'"):
        open_source("folder", tmp_path, split="eval", class_names=("ant", "cat", "cat"))


def test_outputs_keep_their_names_where_the_data_have_none(tmp_path):
    source = open_source("folder", folders(tmp_path, ("ant",)), split="eval", class_names=("bee", "ant", "unused_2"))
    assert source.class_names == ("bee", "ant", "unused_2")
    assert source.absent == ("bee",)
