"""Learning rate schedules: pure functions from the global training step to the learning rate. No MindSpore here."""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence

import numpy as np

Schedule = Callable[[int], float]


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
) -> Schedule:
    """The schedule called `name` as a function of the global step, which counts from 0.

    1. 'exponential': lr * gamma ** (number of `milestones`, in epochs, that have been reached).
    2. 'cosine_annealing': half a cosine from lr down to eta_min over `t_max` epochs (0: max_epoch), renewed each step;
       after that it stays at eta_min (Loshchilov & Hutter 2017, arXiv:1608.03983, without restarts).
    3. Over the first `warmup_epochs` (a fraction is fine) a straight line up to the value that 1. or 2. has at its end,
       so there is no jump and the milestones stay where they are.

    Raises ValueError for an unknown name or fewer than one step an epoch.
    """
    if steps_per_epoch < 1:
        raise ValueError(f"steps_per_epoch is {steps_per_epoch}, expected at least 1")
    if name == "exponential":
        milestone_steps = sorted(epoch * steps_per_epoch for epoch in milestones)

        def after_warmup(step: float) -> float:
            return lr * gamma ** bisect_right(milestone_steps, step)

    elif name == "cosine_annealing":
        total_steps = (t_max or max_epoch) * steps_per_epoch

        def after_warmup(step: float) -> float:
            if step >= total_steps:
                return eta_min
            return eta_min + (lr - eta_min) * (1.0 + math.cos(math.pi * step / total_steps)) / 2.0

    else:
        raise ValueError(f"lr_scheduler is {name!r}, expected exponential or cosine_annealing")

    warmup_steps = warmup_epochs * steps_per_epoch

    def schedule(step: int) -> float:
        if step < warmup_steps:
            return after_warmup(warmup_steps) * min((step + 1) / warmup_steps, 1.0)
        return after_warmup(step)

    return schedule


def schedule_array(schedule: Schedule, total_steps: int) -> np.ndarray:
    """The learning rates of steps 0 .. total_steps - 1 as float32 (total_steps,)."""
    return np.array([schedule(step) for step in range(total_steps)], np.float32)
