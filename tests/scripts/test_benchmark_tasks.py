"""Which tasks and variants --only names, and how much work an image is."""

import pytest

from scripts.benchmarks.tasks import DESCRIPTIONS, multiply_adds, select, task_named, tasks, variant_named, variants
from src.network.architecture import architecture
from src.utils.errors import UsageError

TRAININGS = ["densenet100-training", "densenet121-training"]


def names(only: str) -> dict[str, list[str]]:
    return {task.name: [variant.name for variant in found] for task, found in select(only, quick=False)}


def test_everything_without_words():
    assert names("") == {task.name: [variant.name for variant in variants(task)] for task in tasks(quick=False)}
    assert len(names("")) == 10
    assert {variant for found in names("").values() for variant in found} == set(DESCRIPTIONS)


def test_words_for_tasks_and_for_variants():
    assert names("densenet100-training,ours,torch-eager") == {
        "densenet100-training": ["ours-fp32", "ours-bf16", "ours-plain", "torch-eager"]
    }
    assert names("training,torch-compile") == {name: ["torch-compile-fp32", "torch-compile-bf16"] for name in TRAININGS}
    assert list(names("pipeline")) == ["pipeline-cifar", "pipeline-jpeg"]
    assert list(names("onnxruntime")) == [
        *("densenet100-inference-1", "densenet121-inference-1", "densenet100-inference-32", "densenet121-inference-32")
    ]
    assert names("densenet121-inference-1,mindspore") == {"densenet121-inference-1": ["mindspore"]}


def test_contention_is_measured_beside_the_same_without():
    assert names("contention") == {
        "densenet100-contention": [
            f"{name}{busy}" for name in ("ours-fp32", "torch-eager") for busy in ("", "-busy-1", "-busy-2")
        ]
    }
    task = task_named("densenet100-contention", quick=True)
    assert [variant.busy for variant in variants(task)] == [0, 1, 2] * 2
    assert task.flops_per_image == task_named("densenet100-training", quick=True).flops_per_image


@pytest.mark.parametrize(
    "only, message",
    [
        ("resnet50", "'resnet50', which names nothing; there are the tasks densenet100-training, "),
        ("ours,", "''"),
        ("dense", "'dense'"),
        ("training,onnxruntime", "none of these variants does any of these tasks"),
    ],
)
def test_words_that_select_nothing(only, message):
    with pytest.raises(UsageError, match=message):
        select(only, quick=False)


def test_multiply_adds_by_hand():
    arch = architecture("densenet100", 10, growth_rate=4, block_config=(1, 1), stem_features=8)
    stem, first = 27 * 8 * 64, (8 * 16 + 9 * 16 * 4) * 64
    transition, second, classifier = 12 * 6 * 64, (6 * 16 + 9 * 16 * 4) * 16, 10 * 10
    assert multiply_adds(arch, 8) == stem + first + transition + second + classifier

    large = architecture("densenet121", 10, growth_rate=4, block_config=(1,), stem_features=8)
    assert multiply_adds(large, 9) == 147 * 8 * 5**2 + (8 * 16 + 9 * 16 * 4) * 3**2 + 12 * 10  # 9 -> 5 -> 3 pixels


def test_work_of_the_real_networks():
    found = [round(task_named(name, quick=False).flops_per_image / 1e9, 2) for name in TRAININGS]
    assert found == [1.73, 17.0]
    training, inference = (task_named(f"densenet121-{kind}", False) for kind in ("training", "inference-32"))
    assert training.flops_per_image == 3 * inference.flops_per_image
    assert task_named("pipeline-jpeg", False).flops_per_image == 0


def test_only_our_own_oneDNN_is_limited():  # noqa: N802
    task = task_named("densenet100-inference-32", quick=False)
    plain = {variant.name: variant.plain_onednn for variant in variants(task)}
    assert [name for name, is_plain in plain.items() if not is_plain] == ["ours-fp32", "ours-bf16", "ours-plain"]
    assert variant_named(task, "mindspore").options == variant_named(task, "ours-plain").options
