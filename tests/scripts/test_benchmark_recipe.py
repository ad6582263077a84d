"""The flags of the recipe's variants, and that a step of them trains."""

import math

import pytest

from scripts.benchmarks.tasks import RECIPE_BASE, Job, task_named, variant_named, variants
from src.model_utils.config import parse

TASK = task_named("densenet100-recipe", quick=True)
BASE = ["--net=densenet100", "--dataset=cifar10", "--train_data_dir=d", "--label_smooth=false"]


def test_each_variant_adds_its_flags_to_those_of_the_base():
    base, *others = variants(TASK)
    assert base.name == RECIPE_BASE
    plain = parse("train", BASE).as_dict()
    for variant in others:
        flags = dict(variant.options)["flags"]
        given = parse("train", [*BASE, *flags]).as_dict()
        changed = {key for key, value in given.items() if value != plain[key]}
        assert changed == {flag.partition("=")[0].removeprefix("--") for flag in flags}, variant.name


@pytest.mark.slow
@pytest.mark.parametrize("name", ["recipe-teacher", "recipe-all"])
def test_a_step_trains(name, tmp_path, monkeypatch):
    from scripts.benchmarks import recipe

    monkeypatch.setattr(recipe, "set_up_device", lambda *_, **__: None)  # once a process, and the tests have done it
    step = recipe.build(Job(TASK, variant_named(TASK, name), 2, tmp_path))
    losses = [step() for _ in range(3)]
    assert all(math.isfinite(loss) for loss in losses)
    assert len(set(losses)) == 3
