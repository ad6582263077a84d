"""What is left of a run."""

import pytest

from src.training.clock import Clock, time_left
from src.training.plan import Plan

PLAN = Plan(max_epoch=10, num_images=100, batch_size=10, eval_interval=3)  # 100 steps, evaluated after 3, 6, 9, 10


@pytest.mark.parametrize(
    ("steps", "evaluation", "left"),
    [
        (0, 0, "01:40"),  # 1000 images at 10 a second
        (99, 0, "00:01"),
        (100, 0, "00:00"),
        (0, 60, "05:40"),
        (30, 60, "04:10"),  # three evaluations to come
        (90, 60, "01:10"),
        (100, 3600, "1:00:00"),  # the last evaluation comes after the last step
    ],
)
def test_steps_and_evaluations_to_come(steps, evaluation, left):
    clock = Clock()
    clock.add(seconds=2.0, waited=0.5, images=20)
    assert (clock.images_per_second, clock.wait_percent) == (10.0, 25.0)
    assert time_left(PLAN, clock, steps, evaluation) == left


def test_nothing_is_known_before_a_step_was_timed():
    assert time_left(PLAN, Clock(), 5, 0) == "?"
