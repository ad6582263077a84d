"""CSV cells: no name is a formula, and every name comes back."""

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from src.utils.csv_text import cell, cell_text, csv_text


@pytest.mark.parametrize("name", ["=1+1", "+5", "-5", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''-x"])
def test_what_a_spreadsheet_would_calculate_gets_an_apostrophe(name):
    assert cell(name) == "'" + name
    assert cell_text("'" + name) == name


@pytest.mark.parametrize("name", ["", "cat", "'cat", "'", "1=1", "a-b", "塔", " =1"])
def test_other_names_stay(name):
    assert cell(name) == name == cell_text(name)


def test_numbers_stay_numbers():
    assert csv_text([["loss", "=x"], [-0.5, 3]]) == "loss,'=x\n-0.5,3\n"


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
@example(["'=", "=", "''="])
def test_reading_back_undoes_it(names):
    (row,) = csv.reader(io.StringIO(csv_text([names]), newline=""))
    assert [cell_text(value) for value in row] == names
    assert not any(value[:1] in tuple("=+-@\t\r") for value in row)
