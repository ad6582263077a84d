import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.lr_scheduler.lr_scheduler import SCHEDULES, build_schedule, schedule_array
from src.schema.options import OPTIONS

NAMES = st.sampled_from(["exponential", "cosine_annealing", "polynomial"])
RECIPES = st.fixed_dictionaries(
    {
        "lr": st.floats(1e-4, 10),
        "steps_per_epoch": st.integers(1, 50),
        "max_epoch": st.integers(1, 40),
        "warmup_epochs": st.floats(0, 5),
        "milestones": st.lists(st.integers(1, 40), max_size=4, unique=True).map(sorted),
        "gamma": st.floats(0.01, 1),
        "eta_min": st.just(0.0) | st.floats(1e-6, 1e-4),
        "t_max": st.integers(0, 40),
        "power": st.floats(0.3, 3),
    }
)


def test_the_papers_cifar_recipe():
    """Section 4.2: 0.1 over 300 epochs, divided by 10 at 50 % and 75 % of them."""
    schedule = build_schedule("exponential", lr=0.1, steps_per_epoch=781, max_epoch=300, milestones=(150, 225))
    rates = schedule_array(schedule, 300 * 781)
    assert rates.dtype == np.float32 and rates.shape == (234_300,)
    changes = np.flatnonzero(np.diff(rates)) + 1
    assert changes.tolist() == [150 * 781, 225 * 781]
    np.testing.assert_allclose(rates[[0, *changes]], [0.1, 0.01, 0.001], rtol=1e-6)


def test_cosine_by_hand():
    schedule = build_schedule("cosine_annealing", lr=0.4, steps_per_epoch=10, max_epoch=12, eta_min=0.1, t_max=8)
    assert [schedule(step) for step in (0, 20, 40, 60, 80, 119)] == pytest.approx(
        [0.4, 0.1 + 0.3 * (1 + math.sqrt(0.5)) / 2, 0.25, 0.1 + 0.3 * (1 - math.sqrt(0.5)) / 2, 0.1, 0.1]
    )
    assert schedule(41) < schedule(40)  # each step, not each epoch


def test_warmup_by_hand():
    schedule = build_schedule(
        "exponential", lr=0.8, steps_per_epoch=4, max_epoch=9, warmup_epochs=2, milestones=(1, 3), gamma=0.5
    )
    # The milestone inside the warm-up has been passed at its end, so the line leads to 0.4; the next one still comes.
    assert [schedule(step) for step in range(13)] == pytest.approx(
        [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.4, 0.4, 0.4, 0.4, 0.2]
    )


def torch_rates(make, lr: float, steps: int) -> list[float]:
    """The rates of the first `steps` steps under one of torch.optim's schedulers."""
    import torch

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr, momentum=0.9)
    scheduler, rates = make(torch.optim.lr_scheduler, optimizer), []
    for step in range(steps):
        if step:
            optimizer.step()
            scheduler.step()
        rates.append(scheduler.get_last_lr()[0])
    return rates


@pytest.mark.slow
@pytest.mark.parametrize("power", [1.0, 0.9, 2.0])
def test_polynomial_is_pytorchs(power):
    schedule = build_schedule("polynomial", lr=0.2, steps_per_epoch=7, max_epoch=6, t_max=5, power=power)
    expected = torch_rates(lambda kinds, sgd: kinds.PolynomialLR(sgd, total_iters=35, power=power), 0.2, 42)
    assert [schedule(step) for step in range(42)] == pytest.approx(expected, rel=1e-9, abs=1e-15)
    assert schedule(34) > 0 == schedule(35) == schedule(41)


def test_polynomial_by_hand():
    schedule = build_schedule("polynomial", lr=0.5, steps_per_epoch=2, max_epoch=2, eta_min=0.1, power=2.0)
    assert [schedule(step) for step in range(6)] == pytest.approx([0.5, 0.325, 0.2, 0.125, 0.1, 0.1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("steps_per_epoch", "max_epoch", "rise"), [(10, 9, 0.0), (7, 4, 1.5), (3, 2, 2.0), (1, 3, 0.5)]
)
def test_one_cycle_is_pytorchs(steps_per_epoch, max_epoch, rise):
    total = steps_per_epoch * max_epoch
    schedule = build_schedule(
        "one_cycle", lr=0.4, steps_per_epoch=steps_per_epoch, max_epoch=max_epoch, warmup_epochs=rise
    )
    share = {"pct_start": rise / max_epoch} if rise else {}
    expected = torch_rates(
        lambda kinds, sgd: kinds.OneCycleLR(sgd, max_lr=0.4, total_steps=total, cycle_momentum=False, **share),
        0.4,
        total,
    )
    assert [schedule(step) for step in range(total)] == pytest.approx(expected, rel=1e-9)
    assert schedule(10 * total) == schedule(total)  # a run that goes on stays at the end


def test_the_schema_knows_the_schedules():
    (option,) = (option for option in OPTIONS if option.name == "lr_scheduler")
    assert option.choices == SCHEDULES


@given(NAMES, RECIPES)
def test_stays_between_the_ends(name, recipe):
    rates = schedule_array(build_schedule(name, **recipe), recipe["max_epoch"] * recipe["steps_per_epoch"])
    assert (rates >= 0).all() and (rates <= np.float32(recipe["lr"])).all()


@given(NAMES, RECIPES)
def test_rises_in_the_warmup_and_never_after(name, recipe):
    schedule = build_schedule(name, **recipe)
    warmup_steps = recipe["warmup_epochs"] * recipe["steps_per_epoch"]
    rates = np.array([schedule(step) for step in range(500)])
    last = math.ceil(warmup_steps)
    assert (np.diff(rates[:last]) > 0).all() or rates[0] == 0
    assert (np.diff(rates[last:]) <= 1e-12).all()


@given(NAMES, RECIPES)
def test_warmup_ends_without_a_jump_and_changes_nothing_after(name, recipe):
    warmup_steps = recipe["warmup_epochs"] * recipe["steps_per_epoch"]
    schedule = build_schedule(name, **recipe)
    plain = build_schedule(name, **(recipe | {"warmup_epochs": 0.0}))
    first_step = math.ceil(warmup_steps)
    for step in range(first_step, first_step + 100):
        assert schedule(step) == plain(step)
    if 1 <= warmup_steps == first_step:  # a whole number of steps: the last one is on the schedule
        assert schedule(first_step - 1) == pytest.approx(plain(first_step))


@given(RECIPES)
def test_cosine_ends_at_eta_min_and_stays(recipe):
    schedule = build_schedule("cosine_annealing", **(recipe | {"warmup_epochs": 0.0}))
    end = (recipe["t_max"] or recipe["max_epoch"]) * recipe["steps_per_epoch"]
    assert schedule(0) == pytest.approx(recipe["lr"])
    assert {schedule(step) for step in (end, end + 1, 10 * end)} == {recipe["eta_min"]}
    halfway = build_schedule("cosine_annealing", **(recipe | {"warmup_epochs": 0.0, "steps_per_epoch": 2}))
    assert halfway(recipe["t_max"] or recipe["max_epoch"]) == pytest.approx((recipe["lr"] + recipe["eta_min"]) / 2)


def test_errors():
    with pytest.raises(
        ValueError, match="lr_scheduler is 'step', expected one of exponential, cosine_annealing, polynomial, one_cycle"
    ):
        build_schedule("step", lr=0.1, steps_per_epoch=1, max_epoch=1)
    with pytest.raises(ValueError, match="steps_per_epoch is 0, expected at least 1"):
        build_schedule("exponential", lr=0.1, steps_per_epoch=0, max_epoch=1)
