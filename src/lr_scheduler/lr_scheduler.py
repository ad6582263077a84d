"""Learning rate schedules: pure functions from the global training step to the learning rate. No MindSpore here."""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence

import numpy as np

Schedule = Callable[[int], float]

SCHEDULES = ("exponential", "cosine_annealing", "polynomial", "one_cycle")
ONE_CYCLE_RISE, ONE_CYCLE_DIV, ONE_CYCLE_FINAL_DIV = 0.3, 25.0, 1e4  # PyTorch's pct_start, div_factor, final_div_factor


def build_schedule(
    name: str,
    *,
    lr: float,
    steps_per_epoch: int,
    max_epoch: int,
    warmup_epochs: float = 0.0,
    milestones: Sequence[int] = (),
    gamma: float = 0.1,
    eta_min: float = 0.0,
    t_max: int = 0,
    power: float = 1.0,
) -> Schedule:
    """The schedule called `name` as a function of the global step, which counts from 0.

    1. 'exponential': lr * gamma ** (number of `milestones`, in epochs, that have been reached).
    2. 'cosine_annealing': half a cosine from lr down to eta_min over `t_max` epochs (0: max_epoch), renewed each step;
       after that it stays at eta_min (Loshchilov & Hutter 2017, arXiv:1608.03983, without restarts).
    3. 'polynomial': eta_min + (lr - eta_min) * (1 - share of `t_max` epochs that is done) ** power, then eta_min; with
       eta_min 0 it is PyTorch's PolynomialLR.
    4. Over the first `warmup_epochs` (a fraction is fine) a straight line up to the value that 1., 2. or 3. has at its
       end, so there is no jump and the milestones stay where they are.
    5. 'one_cycle' rises and falls by itself, over max_epoch: see `_one_cycle`.

    Raises ValueError for an unknown name or fewer than one step an epoch.
    """
    if steps_per_epoch < 1:
        raise ValueError(f"steps_per_epoch is {steps_per_epoch}, expected at least 1")
    warmup_steps = warmup_epochs * steps_per_epoch
    total_steps = (t_max or max_epoch) * steps_per_epoch

    if name == "one_cycle":
        return _one_cycle(lr, max_epoch * steps_per_epoch, warmup_steps)
    if name == "exponential":
        milestone_steps = sorted(epoch * steps_per_epoch for epoch in milestones)

        def after_warmup(step: float) -> float:
            return lr * gamma ** bisect_right(milestone_steps, step)

    elif name == "cosine_annealing":

        def after_warmup(step: float) -> float:
            if step >= total_steps:
                return eta_min
            return eta_min + (lr - eta_min) * (1.0 + math.cos(math.pi * step / total_steps)) / 2.0

    elif name == "polynomial":

        def after_warmup(step: float) -> float:
            return eta_min + (lr - eta_min) * max(0.0, 1.0 - step / total_steps) ** power

    else:
        raise ValueError(f"lr_scheduler is {name!r}, expected one of {', '.join(SCHEDULES)}")

    def schedule(step: int) -> float:
        if step < warmup_steps:
            return after_warmup(warmup_steps) * min((step + 1) / warmup_steps, 1.0)
        return after_warmup(step)

    return schedule


def _one_cycle(lr: float, total_steps: int, rising_steps: float) -> Schedule:
    """Smith & Topin 2018 (arXiv:1708.07120) as PyTorch's OneCycleLR(max_lr=lr) computes it, in two half cosines: from
    lr / 25 up to lr in the first `rising_steps` (0: 30 % of all), and down to lr / 250000 at the last step.

    The momentum stays the same (there: cycle_momentum=False). After the last step the rate stays.
    """
    low, end = lr / ONE_CYCLE_DIV, lr / ONE_CYCLE_DIV / ONE_CYCLE_FINAL_DIV
    top, last = float(rising_steps or ONE_CYCLE_RISE * total_steps) - 1.0, total_steps - 1

    def schedule(step: int) -> float:
        if step <= top:
            return _half_cosine(low, lr, step / top if top > 0 else 1.0)
        return _half_cosine(lr, end, min(1.0, (step - top) / (last - top)) if last > top else 1.0)

    return schedule


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2.0 * (math.cos(math.pi * share) + 1.0)


def schedule_array(schedule: Schedule, total_steps: int) -> np.ndarray:
    """The learning rates of steps 0 .. total_steps - 1 as float32 (total_steps,)."""
    return np.array([schedule(step) for step in range(total_steps)], np.float32)
