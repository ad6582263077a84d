"""What a group's ranks send, without a second rank; tests/test_group.py has real ones."""

import mindspore as ms
import numpy as np

from src.model_utils import group as group_module
from src.model_utils.group import Group


def test_the_ranks_ask_each_other_with_one_graph_a_kind(monkeypatch):
    """Each cell, and each shape, is compiled anew, which takes longer than a step; and they ask after every step."""
    seen = []

    def same(cell, values: ms.Tensor) -> ms.Tensor:
        seen.append((id(cell), values.shape))
        return values

    for kind in (group_module._AllReduceSum, group_module._Broadcast):
        monkeypatch.setattr(kind, "__call__", same)
    master = Group(0, 2)
    assert [master.any(flag) for flag in (0, 15, 63)] == [0, 15, 63]
    assert master.sum_counts(np.array([3, 10**10], np.int64)).tolist() == [3, 10**10]
    assert [master.from_master(lambda text=text: text) for text in ("", "a folder", "ä" * 500)] == [
        *("", "a folder", "ä" * 500),
    ]
    assert len(set(seen)) == 2
    assert master.from_master(lambda: "ä" * 5000) == "ä" * 5000
    assert master.sum_counts(np.arange(100)).tolist() == [*range(100)]
