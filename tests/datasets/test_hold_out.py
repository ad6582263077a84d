"""Which pictures are held out: a function of contents and seed, stratified, groups and copies on one side."""

import numpy as np
import pytest

from src.datasets.hold_out import hold_out

RANDOM = np.random.default_rng(0)
CONTENTS = RANDOM.integers(0, 2**63, 1000).astype(np.uint64)
LABELS = np.repeat(np.arange(4), [500, 300, 190, 10]).astype(np.int32)


def test_each_class_gives_its_share():
    chosen = hold_out(LABELS, CONTENTS, None, 0.15, 1)
    assert np.bincount(LABELS[chosen]).tolist() == [75, 45, 28, 2]  # 28.5 and 1.5 to the even number


def test_order_and_names_change_nothing_and_the_seed_does():
    order = RANDOM.permutation(1000)
    chosen = hold_out(LABELS, CONTENTS, None, 0.15, 1)
    moved = hold_out(LABELS[order], CONTENTS[order], None, 0.15, 1)
    np.testing.assert_array_equal(moved, chosen[order])
    other = hold_out(LABELS, CONTENTS, None, 0.15, 2)
    assert (other & chosen).sum() < 50
    many = [hold_out(LABELS, CONTENTS, None, 0.15, seed) for seed in range(40)]
    assert abs(np.mean(many, 0)[:500].mean() - 0.15) < 1e-9 and np.mean(many, 0)[:500].std() < 0.08  # no favourites


@pytest.mark.parametrize("sizes", [(1, 2), (1, 9), (5, 6), (20, 21)])
def test_groups_are_on_one_side_and_each_class_near_its_share(sizes):
    random = np.random.default_rng(sizes)
    groups = np.repeat(np.arange(1000), random.integers(*sizes, 1000))[:1000]
    chosen = hold_out(LABELS, CONTENTS, groups, 0.2, 1)
    assert all(len(set(chosen[groups == group])) == 1 for group in np.unique(groups))
    counts = np.bincount(LABELS[chosen], minlength=4)
    assert (np.abs(counts[:3] - [100, 60, 38]) <= sizes[1] / 2 + 1).all() and 0 < chosen.sum() < 1000
    renamed = RANDOM.permutation(5000)[groups]
    np.testing.assert_array_equal(hold_out(LABELS, CONTENTS, renamed, 0.2, 1), chosen)


def test_copies_are_on_one_side_also_through_groups():
    contents, groups = CONTENTS.copy(), np.full(1000, -1)
    contents[::7] = contents[0]  # one picture 143 times, in all classes
    chosen = hold_out(LABELS, contents, groups, 0.3, 1)
    assert len(set(chosen[::7])) == 1
    groups[[1, 2]] = 5
    groups[[900, 901]] = 6
    contents[900] = contents[2]  # a copy ties the two groups together
    for seed in range(20):
        assert len(set(hold_out(LABELS, contents, groups, 0.5, seed)[[1, 2, 900, 901]])) == 1


@pytest.mark.parametrize("seed", range(10))
def test_training_keeps_every_class_and_held_out_data_have_every_class_of_two(seed):
    labels = np.array([0] * 50 + [1] * 2 + [2])
    chosen = hold_out(labels, CONTENTS[:53], None, 0.1, seed)
    assert (np.bincount(labels[chosen], minlength=3).tolist(), chosen[52]) == ([5, 1, 0], False)


def test_what_only_large_groups_have_is_held_out_too():
    labels, groups = np.array([0] * 50 + [1] * 40), np.array([*range(50), *([60] * 25), *([61] * 15)])
    chosen = hold_out(labels, CONTENTS[:90], groups, 0.1, 1)
    assert chosen[:50].sum() == 5 and not chosen[50:75].any() and chosen[75:].all()


def test_several_labels_are_stratified_each():
    labels = (RANDOM.random((1000, 6)) < [0.5, 0.3, 0.1, 0.05, 0.02, 0.004]).astype(np.int8)
    labels[RANDOM.random((1000, 6)) < 0.1] = -1
    chosen = hold_out(labels, CONTENTS, None, 0.25, 1)
    positives = (labels == 1).sum(0)
    found = (labels[chosen] == 1).sum(0)
    assert (np.abs(found - 0.25 * positives) <= np.maximum(0.03 * positives, 1.5)).all(), (found, positives)
    none = ~(labels == 1).any(1)
    assert abs(chosen[none].sum() - 0.25 * none.sum()) < 0.05 * none.sum()
    groups = np.arange(1000) // 4
    together = hold_out(labels, CONTENTS, groups, 0.2, 1)
    assert abs(chosen.sum() - 250) < 15 and abs(together.sum() - 200) < 15
