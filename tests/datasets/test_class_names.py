"""One name for each output: what a data set lacks is filled in, what nobody named is numbered."""

import pytest

from src.datasets.class_names import (
    are_unnamed,
    fill_class_names,
    is_list_of_names,
    unnamed_classes,
    used_class_names,
)
from src.datasets.sources import open_source
from src.utils.errors import ReportedError


@pytest.mark.parametrize(
    ("num_classes", "filled"),
    [(0, ("cat", "dog")), (2, ("cat", "dog")), (4, ("cat", "dog", "unused_2", "unused_3"))],
)
def test_outputs_without_a_class_are_called_unused_and_taken_away_again(num_classes, filled):
    assert fill_class_names(("cat", "dog"), num_classes) == filled
    assert used_class_names(filled) == ("cat", "dog")


def test_only_the_filled_in_names_are_taken_away():
    """A user's own class of that name stays, unless it is where it would have been filled in."""
    assert used_class_names(("unused_1", "cat", "unused_2")) == ("unused_1", "cat")


def test_more_classes_than_outputs():
    with pytest.raises(
        ReportedError, match="num_classes is 1, but the data set has 2 classes; set --num_classes 2, or 0 for as many"
    ):
        fill_class_names(("cat", "dog"), 1)


def test_unnamed_classes_are_recognised():
    assert unnamed_classes(3) == ("class_0", "class_1", "class_2")
    assert are_unnamed(["class_0", "class_1", "class_2"])
    for names in (("class_1", "class_0"), ("class_0", "cat"), ("class_1", "class_2"), ("0", "1")):
        assert not are_unnamed(names)


@pytest.mark.parametrize(
    ("value", "accepted"),
    [
        (["cat", "temple 塔", "caf\\xe9", ""], True),
        ([], True),
        ("cat", False),
        (("cat",), False),
        (["cat", 1], False),
        (["\ud800"], False),  # cannot be written as UTF-8
        (["\x1b[31m"], False),  # would colour the terminal
        (["cat\n"], False),
        (None, False),
    ],
)
def test_names_from_a_file_can_be_printed(value, accepted):
    assert is_list_of_names(value) is accepted


@pytest.mark.parametrize(("outputs", "fillers"), [(10, ()), (11, ("unused_10",))])
def test_a_network_of_unnamed_classes_takes_a_data_set_s_names(outputs, fillers):
    source = open_source("digits", "", split="eval", class_names=unnamed_classes(outputs))
    assert source.class_names == (*"0123456789", *fillers)


def test_a_network_with_too_few_unnamed_classes_is_refused():
    with pytest.raises(ReportedError, match="the data set digits has labels of 10 classes, but the network knows 9"):
        open_source("digits", "", split="eval", class_names=unnamed_classes(9))
