"""Labels by name, without an object for each name."""

from array import array

import pytest

from src.datasets.packed_names import PackedNames
from src.deploy import label_table
from src.deploy.label_table import HASH_BITS, LabelTable

NAMES = [f"n{i:05d}_塔" for i in range(5000)]


def table(names, hashes) -> LabelTable:
    packed = PackedNames(name.encode() for name in names)
    return LabelTable(
        packed, array("i", range(len(names))), array("I", (hashes(name.encode()) & HASH_BITS for name in names))
    )


@pytest.mark.parametrize("hashes", [hash, lambda name: len(name) % 2, lambda _: 7], ids=["good", "poor", "one"])
def test_it_is_a_dictionary_whatever_the_hashes(hashes, monkeypatch):
    names = NAMES if hashes is hash else NAMES[:60]
    monkeypatch.setattr(label_table, "hash", hashes, raising=False)
    found = table(names, hashes)
    assert dict(found) == {name: i for i, name in enumerate(names)}
    assert "none" not in found
    assert found.first_repeated() is None
    assert table([*names, names[41], names[3]], hashes).first_repeated() == len(names)


def test_packed_names_are_a_sequence():
    names = PackedNames([b"a", b"", "塔".encode()])
    names.extend([b"\xff", b"bc"])
    assert list(names) == ["a", "", "塔", "\udcff", "bc"]
    with pytest.raises(IndexError):
        names[5]
    many = [f"{i}".encode() * (i % 7) for i in range(5000)]
    names = PackedNames(many[:1500])
    names.extend(many[1500:])
    assert [names.raw(i) for i in range(5000)] == many
    assert len(names) == 5000
    assert list(names.parts()) != list(PackedNames([*many[:-2], many[-1], many[-2]]).parts())
