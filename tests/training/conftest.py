"""Compiled steps of the toy network go from test to test."""

import pytest
import toy


@pytest.fixture(autouse=True)
def steps_are_given_back() -> None:
    toy.give_back()
