"""Layers that are not trained: their bits stay, the others' do not, and a step goes on from what was saved."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from src.losses.crossentropy import CrossEntropy
from src.network.architecture import architecture
from src.network.build import build_network
from src.network.densenet import DenseNet
from src.network.sync_batch_norm import SyncBatchNorm
from src.ops.build import kernels
from src.optimizers.average import WeightAverage
from src.optimizers.sgd import SGD
from src.training.statistics import StatisticsRefresh
from src.training.step import LossScaling, TrainStep
from src.utils.errors import UsageError

ARCH = architecture("densenet121", 5, growth_rate=4, block_config=(2, 1, 1), stem_features=8)
FROZEN_2 = ("conv0", "norm0", "denseblock1", "transition1", "denseblock2", "transition2")


def trained(network: DenseNet, **options) -> TrainStep:
    """A step of `network`, whose running statistics are not those of the beginning."""
    random = np.random.default_rng(1)
    for parameter in network.get_parameters():
        if ".moving_" in parameter.name:
            parameter.set_data(ms.Tensor(random.uniform(0.5, 1.5, parameter.shape).astype(np.float32)))
    optimizer = SGD(
        network.trainable_params(), momentum=0.9, weight_decay=0.1, decay_norm_and_bias=True, kernels=network.kernels
    )
    return TrainStep(network, CrossEntropy(), optimizer, **options)


def steps(step: TrainStep, count: int) -> list[float]:
    """Losses of so many micro-batches, the same each time."""
    random = np.random.default_rng(2)
    losses = []
    for number in range(count):
        images, labels = random.normal(size=(6, 3, 32, 32)).astype(np.float32), random.integers(0, 5, 6)
        is_last = ms.Tensor((number + 1) % step.accumulation_steps == 0)
        loss, *_ = step(ms.Tensor(images), ms.Tensor(labels.astype(np.int32)), ms.Tensor(0.1, ms.float32), is_last)
        losses.append(float(loss.asnumpy()))
    return losses


def values(step: TrainStep) -> dict[str, bytes]:
    return {parameter.name: parameter.asnumpy().tobytes() for parameter in step.saved_parameters()}


def is_frozen(name: str) -> bool:
    return name.removeprefix("ema.").startswith(tuple(f"backbone.features.{part}." for part in FROZEN_2))


def assert_frozen_alone(step: TrainStep, before: dict[str, bytes]) -> None:
    after = values(step)
    assert {name for name in before if before[name] == after[name]} == {name for name in before if is_frozen(name)}
    assert not [name for name in before if name.startswith("moments.") and is_frozen(name.removeprefix("moments."))]
    assert [name for name in before if name.startswith("moments.")]


@pytest.mark.slow
def test_the_bits_of_frozen_layers_stay_and_what_was_saved_goes_on():
    """With the kernels and an average of the weights."""
    library = str(kernels().library)
    network = DenseNet(ARCH, kernels=library, frozen_blocks=2)
    step = trained(network, average=WeightAverage(network, 0.9, library))
    step.average.start()
    before = values(step)
    steps(step, 2)
    assert_frozen_alone(step, before)
    saved = {parameter.name: parameter.asnumpy().copy() for parameter in step.saved_parameters()}
    undisturbed = steps(step, 4), values(step)
    for parameter in step.saved_parameters():
        parameter.set_data(ms.Tensor(saved[parameter.name]))
    assert (steps(step, 4), values(step)) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("frozen", [1, 3])
def test_the_kernels_train_as_the_plain_network(frozen):
    """Of all blocks too: the last normalisation and the classifier are trained."""
    networks = [DenseNet(ARCH, kernels=library, frozen_blocks=frozen) for library in (None, str(kernels().library))]
    plain, fused = (steps(trained(network), 3) for network in networks)
    assert fused == pytest.approx(plain, rel=1e-5)
    assert len(set(plain)) == 3


@pytest.mark.slow
def test_the_plain_network_with_all_that_is_drawn_and_recomputed():
    arch = architecture("densenet121", 5, growth_rate=4, block_config=(2, 1, 1), stem_features=8, drop_rate=0.3)
    network = build_network(
        arch, device="CPU", cpu_kernels="off", cpu_precision="fp32", amp_level="O2", recompute=True, frozen_blocks=2
    )
    step = trained(network, scaling=LossScaling("dynamic", 8.0), accumulation_steps=2)
    assert [p.name for p in step.saved_parameters() if p.name.endswith("random_state")] == [
        "backbone.features.denseblock3.cell_list.0.dropout.random_state"
    ]
    before = {name: value for name, value in values(step).items() if name not in ("loss_scale", "skipped_steps")}
    steps(step, 2)
    assert_frozen_alone(step, before)


def test_frozen_layers_do_not_normalise_over_the_ranks():
    network = DenseNet(ARCH, norm_ranks=2, frozen_blocks=1)
    kinds = {name: type(cell) for name, cell in network.cells_and_names() if name.endswith(("norm0", "norm1", "norm"))}
    assert kinds["backbone.features.norm0"] is kinds["backbone.features.transition1.features.norm"] is nn.BatchNorm2d
    assert kinds["backbone.features.denseblock2.cell_list.0.norm1"] is SyncBatchNorm
    assert {p.name for p in network.get_parameters()} == {p.name for p in DenseNet(ARCH).get_parameters()}


def test_statistics_of_frozen_layers_are_not_followed():
    network = DenseNet(ARCH, frozen_blocks=2)
    step = trained(network, average=WeightAverage(network, 0.9))
    names = [parameter.name for parameter in step.followed_statistics()]
    assert names
    assert all(".moving_" in name for name in names)
    assert not [name for name in names if is_frozen(name)]
    assert len(names) == 2 * len(network.followed_statistics())
    refresh = StatisticsRefresh(network)
    assert refresh._running == network.followed_statistics()
    assert len(DenseNet(ARCH).followed_statistics()) == 2 * sum(1 for _ in norms(DenseNet(ARCH)))


def norms(network: DenseNet):
    return (cell for _, cell in network.cells_and_names() if isinstance(cell, nn.BatchNorm2d))


def test_more_blocks_than_there_are_cannot_be_frozen():
    ARCH.check_frozen(3)
    with pytest.raises(UsageError, match="found freeze 4, but this densenet121 has 3 dense blocks; give at most so ma"):
        ARCH.check_frozen(4)
