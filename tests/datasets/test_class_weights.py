"""Weights of the classes: mean 1 over those that occur, none infinite; from files, and what is wrong in these."""

from dataclasses import replace

import numpy as np
import pytest

from src.datasets.class_weights import class_weights
from src.datasets.sources import open_source
from src.utils.errors import ReportedError

NAMES = ("ant", "red bee", "cat", "dog")
DIGITS = open_source("digits", "", split="train").subset(np.arange(7))
SOURCE = replace(DIGITS, labels=np.array([0, 0, 0, 0, 1, 1, 3], np.int32), class_names=NAMES)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_rare_classes_weigh_more(power):
    found = class_weights(SOURCE, "auto", power, NAMES)
    assert np.mean([found[i] for i in (0, 1, 3)]) == pytest.approx(1) and found[2] == 1
    assert found[3] / found[0] == pytest.approx(4**power) and found[1] / found[0] == pytest.approx(2**power)
    assert class_weights(SOURCE, "none", power, NAMES) == []


def test_of_several_labels_the_positive_ones_weigh_as_the_negatives_are_many():
    labels = np.array([[1, 1, 0, -1], [0, 1, 0, -1], [0, 1, 0, -1], [-1, 1, 0, -1], [0, 1, 0, 1]], np.int8)
    source = replace(SOURCE, labels=labels)
    assert class_weights(source, "auto", 1.0, NAMES) == [3.0, 1.0, 1.0, 1.0]
    assert class_weights(source, "auto", 0.5, NAMES)[0] == pytest.approx(3**0.5)


def test_of_a_file(tmp_path):
    (tmp_path / "w.txt").write_bytes(b"\xef\xbb\xbfdog 0\r\n\r\nred bee\t2.5\r\ncat 1e-1\r\nant 1\r\n")
    assert class_weights(SOURCE, str(tmp_path / "w.txt"), 1.0, NAMES) == [1.0, 2.5, 0.1, 0.0]


GOOD = "ant 1\nred bee 1\ncat 1\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no weight for 4 classes: 'ant', 'red bee', 'cat', ...; expected `class weight` lines"),
        (GOOD, "has no weight for 1 classes: 'dog'"),
        (GOOD + "dog", "line 4: found 'dog', expected `class weight` lines"),
        (GOOD + "dog one", "line 4: found the weight 'one', expected a number from 0 to 1000000"),
        (GOOD + "dog nan", "line 4: found the weight 'nan'"),
        (GOOD + "dog inf", "line 4: found the weight 'inf'"),
        (GOOD + "dog -1", "line 4: found the weight '-1'"),
        (GOOD + "dog 2\ndog 3", "line 5: the class 'dog' is given a second time"),
        (GOOD + "eel 2", "line 4: found the class 'eel', expected one of 'ant', 'red bee', 'cat', ..."),
        (GOOD.replace("1", "0") + "dog 0", "gives every class the weight 0"),
        (b"ant \xff", "is not UTF-8 text"),
        (None, "is no file; expected `class weight` lines"),
    ],
)
def test_what_is_wrong_in_a_file(text, message, tmp_path):
    if text is not None:
        (tmp_path / "w.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ReportedError) as found:
        class_weights(SOURCE, str(tmp_path / "w.txt"), 1.0, NAMES)
    assert message in str(found.value)
