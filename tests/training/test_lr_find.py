"""The range test: growing rates, a rate that trains, and a step that is as before."""

import csv

import numpy as np
import pytest
import toy
from commands import TINY, only
from PIL import Image

import train
from src.training.lr_find import HIGHEST, LOWEST, RangeTest, find_learning_rate, report_range_test
from src.training.update import update
from src.utils.errors import ReportedError


def batches(**_: int):
    """One batch, again and again."""
    for _ in range(3):
        yield *toy.make_data(12, seed=1), np.arange(12)


def test_all_state_is_as_before():
    step = toy.make_step()
    before = toy.values(step)
    find_learning_rate(step, batches)
    after = toy.values(step)
    assert list(after) == list(before)
    assert all(after[name].tobytes() == value.tobytes() for name, value in before.items())


def test_rates_grow_by_a_factor_until_the_loss_has_grown_too_much():
    found = find_learning_rate(toy.make_step(), batches)
    assert found.rates[0] == LOWEST
    np.testing.assert_allclose(found.rates[1:] / found.rates[:-1], (HIGHEST / LOWEST) ** (1 / 99))
    assert found.smoothed[0] == pytest.approx(found.losses[0])
    assert found.losses.min() < 0.5 * found.losses[0], "it has learnt"
    assert len(found.rates) == 100 or found.smoothed[-1] > 4 * found.smoothed.min()


def test_the_suggested_rate_trains_a_new_network():
    found = find_learning_rate(toy.make_step(), batches)
    step = toy.make_step()
    losses = [update(step, [next(batches())], found.suggested)[0] for _ in range(30)]
    assert losses[-1] < 0.2 * losses[0]


def test_the_suggestion_is_where_the_loss_falls_fastest():
    rates = np.geomspace(1e-6, 10, 100)
    falls_at_a_hundredth = 2 / (1 + np.exp(3 * (np.log10(rates) + 2))) + (rates > 1) * rates
    found = RangeTest(rates, falls_at_a_hundredth, falls_at_a_hundredth)
    assert found.suggested == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize("losses", [np.linspace(1, 2, 50), np.ones(50), np.ones(1)], ids=["grows", "flat", "one"])
def test_no_rate_is_suggested_where_the_loss_never_falls(losses, tmp_path):
    found = RangeTest(np.geomspace(1e-6, 10, 50)[: len(losses)], losses, losses)
    with pytest.raises(ReportedError, match="the loss falls at no learning rate from 1e-06"):
        report_range_test(found, tmp_path)
    assert (tmp_path / "lr_find.png").is_file(), "to see why"


def test_a_loss_that_is_not_finite_from_the_start_is_an_error():
    step = toy.make_step()
    images, labels = toy.make_data(12)
    with pytest.raises(ReportedError, match="the loss of the first step is not finite"):
        find_learning_rate(step, lambda **_: iter([(images * np.inf, labels, np.arange(12))]))


def test_rates_are_told_as_the_flag(tmp_path):
    """With linear_lr_scaling the flag is a part of the rate."""
    found = find_learning_rate(toy.make_step(), batches)
    assert f"falls fastest at --lr {found.suggested / 4:.2g} " in report_range_test(found, tmp_path, scale=4.0)
    rows = list(csv.DictReader((tmp_path / "lr_find.csv").open()))
    assert [float(row["lr"]) for row in rows] == pytest.approx((found.rates / 4).tolist())


@pytest.mark.slow
def test_the_command_writes_a_picture_and_no_checkpoint(tmp_path, capsys):
    train.main([*TINY, "--lr_find", "--per_batch_size", "32", "--save_ckpt_path", str(tmp_path)])
    folder = only(tmp_path)
    assert f"is usual; {folder / 'lr_find.png'}" in capsys.readouterr().out
    with Image.open(folder / "lr_find.png") as picture:
        assert len(picture.convert("L").getcolors()) > 10
    assert not list(folder.glob("*.ckpt"))
    rates = [float(row["lr"]) for row in csv.DictReader((folder / "lr_find.csv").open())]
    assert rates[0] == LOWEST and 1e-5 < rates[-1] <= HIGHEST
