"""What batches are mixed with: the published definitions, and that the numbers are a function of the place."""

import numpy as np
import pytest

from src.datasets.mixing import Mixing, _side, mixed_batches

PLACE = {"batch": 16, "height": 24, "width": 32}


def draws(mixing: Mixing, count: int = 400) -> list:
    return [mixing.draw(epoch=0, first_image=16 * i, rank=0, **PLACE) for i in range(count)]


def test_mixup_draws_lambda_from_beta():
    """Beta(a, a) has the mean 1/2 and the variance 1 / (4 (2a + 1))."""
    for alpha in (0.2, 1.0):
        found = draws(Mixing(alpha, 0.0, seed=1))
        shares = np.array([mix.share for mix in found])
        assert shares.mean() == pytest.approx(0.5, abs=0.07)
        assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.15)
        assert all((mix.keep == mix.share).all() and mix.keep.shape == (24, 32) for mix in found)
        assert all(sorted(mix.permutation) == list(range(16)) for mix in found)
        assert len({tuple(mix.permutation) for mix in found}) == len(found)


def test_cutmix_keeps_all_but_a_box_and_lambda_is_the_area_that_is_left():
    found = draws(Mixing(0.0, 1.0, seed=1))
    for mix in found:
        assert set(np.unique(mix.keep)) <= {0.0, 1.0}
        assert mix.share == pytest.approx(mix.keep.mean(), abs=1e-6)
        rows, columns = (np.flatnonzero((mix.keep == 0).any(axis)) for axis in (1, 0))
        assert (mix.keep == 0).sum() == len(rows) * len(columns)
        assert not len(rows) or rows[-1] - rows[0] + 1 == len(rows)
    # Boxes of all sizes at all places: their clipped area is smaller than 1 - lambda, whose mean is 1/2.
    assert 0.55 < np.mean([mix.share for mix in found]) < 0.75
    covered = np.mean([mix.keep == 0 for mix in found], axis=0)
    assert covered.min() > 0.05


@pytest.mark.slow
def test_the_box_is_that_of_timm():
    """Of the same lambda and the same centre; timm draws the centre row first, as we do."""
    from scripts.benchmarks.torchvision_beside_cpu import torchvision  # noqa: F401, I001, timm imports it

    from timm.data import mixup as theirs

    class Centre:
        def __init__(self, *places):
            self.places = list(places)

        def integers(self, size):
            assert self.places[0] < size
            return self.places.pop(0)

    for share in (0.0, 0.1, 0.5, 0.93, 1.0):
        for row, column in ((0, 0), (5, 31), (23, 7), (12, 16)):
            own = [_side(share, size, Centre(place)) for size, place in ((24, row), (32, column))]
            with pytest.MonkeyPatch.context() as patch:
                places = [row, column]
                patch.setattr(theirs.np.random, "randint", lambda *_, places=places, **__: places.pop(0))
                top, bottom, left, right = theirs.rand_bbox((1, 3, 24, 32), share)
            assert own == [(top, bottom), (left, right)]


def test_of_both_each_batch_gets_one_with_equal_chances():
    found = draws(Mixing(0.8, 1.0, seed=2))
    cut = np.mean([set(np.unique(mix.keep)) <= {0.0, 1.0} for mix in found])
    assert cut == pytest.approx(0.5, abs=0.08)


def test_a_resumed_epoch_is_mixed_like_the_whole_one():
    """On the other rank of two, from the batch on which it goes on, and after another global batch was chosen."""

    def batches(epoch, first_image, first_batch):
        assert first_image in (0, 12)
        for i in range(first_batch, 4):
            yield np.full((3, 1, 2, 2), 10 * epoch + i, np.float32), np.arange(3), np.arange(3)

    place = {"rank": 1, "images_per_batch": 6, "epoch": 2}
    whole = list(mixed_batches(batches, Mixing(1.0, 1.0, 0), **place))
    rest = list(mixed_batches(batches, Mixing(1.0, 1.0, 0), **place, first_batch=2))
    assert [images[0, 0, 0, 0] for images, *_ in whole] == [20, 21, 22, 23]
    assert len(rest) == 2
    for (*_, mix), (*_, same) in zip(whole[2:], rest, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(mix, same, strict=True))
    moved = next(mixed_batches(batches, Mixing(1.0, 1.0, 0), **place, first_image=12))
    assert all(np.array_equal(a, b) for a, b in zip(moved[-1], whole[2][-1], strict=True)), "the place counts"


def test_a_place_has_its_own_numbers_always():
    mixing, place = Mixing(1.0, 0.0, seed=5), {"epoch": 1, "first_image": 64, "rank": 0}
    first = mixing.draw(**place, **PLACE)
    again = Mixing(1.0, 0.0, seed=5).draw(**place, **PLACE)
    assert first.share == again.share
    assert np.array_equal(first.permutation, again.permutation)
    for other in ({"epoch": 2}, {"first_image": 80}, {"rank": 1}):
        assert mixing.draw(**{**place, **other}, **PLACE).share != first.share
    assert Mixing(1.0, 0.0, seed=6).draw(**place, **PLACE).share != first.share
