"""The weights' average against its formula, in the step it is a part of."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from src.losses.crossentropy import CrossEntropy
from src.network.architecture import architecture
from src.network.densenet import DenseNet
from src.ops import build
from src.optimizers.average import WeightAverage
from src.optimizers.sgd import SGD
from src.training.step import LossScaling, TrainStep
from src.utils.parameters import overwrite
from training import toy

KERNELS = pytest.mark.parametrize("has_kernels", [False, True], ids=["mindspore", "kernels"])


def library(has_kernels: bool) -> str | None:
    return str(build.kernels().library) if has_kernels else None


def make_step(has_kernels: bool, decay: float, drop_rate: float = 0.0, **options) -> TrainStep:
    arch = architecture("densenet100", 3, growth_rate=4, block_config=(1,), stem_features=4, drop_rate=drop_rate)
    network = DenseNet(arch, kernels=library(has_kernels))
    optimizer = SGD(network.trainable_params(), momentum=0.9, weight_decay=1e-4, kernels=library(has_kernels))
    average = WeightAverage(network, decay, kernels=library(has_kernels)) if decay else None
    return TrainStep(network, CrossEntropy(), optimizer, average=average, **options)


def train(step: TrainStep, seed: int, rate: float = 0.1, is_last: bool = True, size: int = 8) -> bool:
    random = np.random.default_rng(seed)
    images = random.normal(size=(4, 3, size, size)).astype(np.float32)
    labels = random.integers(0, 3, 4).astype(np.int32)
    return bool(step(Tensor(images), Tensor(labels), Tensor(rate, ms.float32), Tensor(is_last))[1].asnumpy())


def values(step: TrainStep, prefix: str = "") -> dict[str, np.ndarray]:
    """The network's numbers, or their averages, by the network's names."""
    found = step.average.averages if prefix else step.average.values
    return {p.name.removeprefix(prefix): p.asnumpy().astype(np.float64) for p in found}


def assert_same(left: dict, right: dict) -> None:
    for name, value in left.items():
        assert np.array_equal(value, right[name]), name


@pytest.mark.slow
@pytest.mark.parametrize(("has_kernels", "parts"), [(False, 2), (True, 1), (True, 2)])
def test_weights_and_statistics_are_averaged_as_defined(has_kernels, parts):
    """Through the warm-up, (1 + n) / (10 + n) < 0.3 for n < 3, and after it; with dropout, whose counters are not.

    And what is averaged is not changed: the network is, bit for bit, the one that is trained without.
    """
    options = {"scaling": LossScaling("dynamic", 8.0), "accumulation_steps": 2} if parts == 2 else {}
    options["drop_rate"] = 0.2
    step, plain = make_step(has_kernels, 0.3, **options), make_step(has_kernels, 0.0, **options)
    expected = values(step)
    assert {name.split(".")[-1] for name in expected} == {
        "weight", "gamma", "beta", "bias", "moving_mean", "moving_variance",
    }  # fmt: skip
    for n in range(1, 6):
        for one in (step, plain):
            for part in range(parts):
                train(one, seed=10 * n + part, is_last=part + 1 == parts)
        decay = min(0.3, (1 + n) / (10 + n))
        expected = {name: decay * expected[name] + (1 - decay) * value for name, value in values(step).items()}
    averages = values(step, "ema.")
    for name, value in expected.items():
        np.testing.assert_allclose(averages[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
    assert all(value.any() for value in averages.values())
    for parameter, same in zip(plain.network.get_parameters(), step.network.get_parameters(), strict=True):
        assert np.array_equal(parameter.asnumpy(), same.asnumpy()), parameter.name
    saved = [parameter.name for parameter in step.saved_parameters()]
    assert len(set(saved)) == len(saved)
    assert {"ema.head.fc.weight", "ema.backbone.features.norm0.moving_variance", "ema_updates"} < set(saved)
    assert not any("random_state" in name for name in averages)


@pytest.mark.slow
@KERNELS
def test_training_goes_on_after_an_evaluation_and_with_statistics_from_elsewhere(has_kernels):
    """The updates are in a branch of the graph, which does not notice when a parameter gets other memory."""
    step, plain = (make_step(has_kernels, 0.3, scaling=LossScaling("dynamic", 8.0)) for _ in range(2))
    for one in (step, plain):
        train(one, 1)
        if one is step:
            with one.average.in_place():
                pass
        for parameter in one.saved_parameters():
            if ".moving_" in parameter.name:
                overwrite(parameter, np.full(parameter.shape, 0.5, np.float32))
        expected = values(one, "ema.")
        for n in (2, 3):
            train(one, n)
            decay = min(0.3, (1 + n) / (10 + n))
            expected = {name: decay * expected[name] + (1 - decay) * value for name, value in values(one).items()}
        for name, value in values(one, "ema.").items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-6, err_msg=name)
    assert_same(values(step), values(plain))


@KERNELS
def test_it_follows_real_updates_alone_and_is_constant_with_the_network(has_kernels):
    step = toy.make_step(
        kernels=library(has_kernels), ema_decay=0.9, scaling=LossScaling("dynamic", 8.0), accumulation_steps=2
    )
    first = values(step, "ema.")
    train(step, 0, size=toy.SIZE, is_last=False)
    assert_same(values(step, "ema."), first)
    overflowing = Tensor(np.full((4, 3, toy.SIZE, toy.SIZE), np.inf, np.float32))
    labels, rate = Tensor(np.zeros(4, np.int32)), Tensor(0.1, ms.float32)
    assert not step(overflowing, labels, rate, Tensor(True))[1].asnumpy()
    assert_same(values(step, "ema."), first)
    assert step.average.updates.asnumpy() == 0
    for rate in (0.0, 0.0, 0.1):  # without weight decay nothing moves at a rate of 0
        assert_same(values(step, "ema."), values(step))
        train(step, 1, rate, is_last=False, size=toy.SIZE)
        assert train(step, 2, rate, size=toy.SIZE)
    assert step.average.updates.asnumpy() == 3
    assert not np.array_equal(values(step)["fc.weight"], first["fc.weight"])


def test_the_network_has_the_averages_for_a_while():
    step = toy.make_step(ema_decay=0.9)
    train(step, 0, size=toy.SIZE)
    raw, averages = values(step), values(step, "ema.")
    assert not np.array_equal(raw["fc.weight"], averages["fc.weight"])
    with pytest.raises(KeyError), step.average.in_place():
        assert_same(values(step), averages)
        raise KeyError
    assert_same(values(step), raw)
    assert_same(values(step, "ema."), averages)
    step.average.start()
    assert_same(values(step, "ema."), raw)
