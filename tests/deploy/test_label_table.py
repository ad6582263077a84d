"""Labels by name, without an object for each name."""

from array import array

import pytest

from src.datasets.packed_names import PackedNames
from src.deploy import label_table
from src.deploy.label_table import LabelTable

NAMES = [f"n{i:05d}_塔" for i in range(5000)]


def table(names) -> LabelTable:
    return LabelTable(PackedNames(name.encode() for name in names), array("i", range(len(names))))


@pytest.mark.parametrize("hashes", [hash, lambda name: len(name) % 2, lambda _: 7], ids=["good", "poor", "one"])
def test_it_is_a_dictionary_whatever_the_hashes(hashes, monkeypatch):
    names = NAMES if hashes is hash else NAMES[:60]
    monkeypatch.setattr(label_table, "hash", hashes, raising=False)
    found = table(names)
    assert dict(found) == {name: i for i, name in enumerate(names)}
    assert "none" not in found
    assert found.first_repeated() is None
    assert table([*names, names[41], names[3]]).first_repeated() == len(names)


def test_packed_names_are_a_sequence():
    names = PackedNames([b"a", b"", "塔".encode()])
    names.extend([b"\xff", b"bc"])
    assert list(names) == ["a", "", "塔", "\udcff", "bc"]
    with pytest.raises(IndexError):
        names[5]
