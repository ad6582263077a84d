"""What files that are no pictures are called."""

import pytest
from file_kinds import FILES

from src.datasets.file_kind import kind_of_file


@pytest.mark.parametrize(("kind", "data"), FILES.items())
def test_a_file_is_called_what_it_is_and_what_to_do_is_said(kind, data):
    found, remedy = kind_of_file(data).split("; ")
    assert found.startswith(kind)
    assert remedy


@pytest.mark.parametrize(
    "data", [b"", b"no picture", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"{cut", b"ftyp", bytes(7) + b"\1"]
)
def test_what_is_not_known_is_not_guessed(data):
    assert kind_of_file(data) is None
