"""The network of the C++ kernels beside the plain one with the same parameters."""

import mindspore as ms
import numpy as np
import pytest

from src.network.architecture import architecture
from src.network.densenet import DenseNet
from src.ops.build import kernels
from src.ops.times import seconds_of

TINY = {"growth_rate": 4, "block_config": (1, 1), "stem_features": 6}


def gradients(network: DenseNet, images: ms.Tensor, of_images: bool = True) -> list[np.ndarray]:
    """Of a sum of the logits, weighed so that none cancels another: of the images, and of all parameters."""
    weights = ms.Tensor(np.arange(1, 4, dtype=np.float32))

    def loss(x):
        return (network(x) * weights).sum()

    parameters = ms.ParameterTuple(network.trainable_params())
    if not of_images:
        return [g.asnumpy() for g in ms.grad(loss, None, parameters)(images)]
    d_images, d_parameters = ms.grad(loss, 0, parameters)(images)
    return [g.asnumpy() for g in (d_images, *d_parameters)]


def settled(network: DenseNet) -> DenseNet:
    """With another classifier than that of the beginning, which is zero, and normalisations that all do something."""
    random = np.random.default_rng(1)
    for parameter in network.get_parameters():
        shape, name = parameter.shape, parameter.name.rpartition(".")[2]
        values = {
            "gamma": random.uniform(0.5, 1.5, shape) * random.choice([1, -1], shape),
            "beta": random.normal(0, 0.3, shape),
            "moving_mean": random.normal(0, 0.3, shape),
            "moving_variance": random.uniform(0.5, 1.5, shape),
        }
        if name in values or "head" in parameter.name:
            parameter.set_data(ms.Tensor(values.get(name, random.normal(0, 1, shape)).astype(np.float32)))
    return network


@pytest.mark.slow
@pytest.mark.parametrize(
    ("net", "fields", "mode"),
    [
        ("densenet121", {"input_channels": 1, "transition_pool": "max"}, ms.GRAPH_MODE),
        ("densenet100", {"drop_rate": 0.3}, ms.PYNATIVE_MODE),
    ],
)
def test_gradients_are_the_plain_network_s(net, fields, mode):
    """In training, where dropout drops the same, and in evaluation, where statistics stay; those of the images too."""
    arch = architecture(net, 3, **TINY, **fields)
    networks = [settled(DenseNet(arch, kernels=library)) for library in (None, str(kernels().library))]
    shape = (4, arch.input_channels, 20, 18)
    images = ms.Tensor(np.random.default_rng(0).normal(size=shape).astype(np.float32))
    before = ms.get_context("mode")
    ms.set_context(mode=mode)
    try:
        for training in (True, False):
            expected, found = (gradients(network.set_train(training), images) for network in networks)
            assert found[0].shape == shape and found[1].shape[1] == arch.input_channels
            for ours, theirs in zip(found, expected, strict=True):
                assert np.abs(theirs).max() > 0
                np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())
        states = [[p.asnumpy().tolist() for p in n.get_parameters() if "random_state" in p.name] for n in networks]
        assert states[0] == states[1]
        assert all(state[1] == 1 for state in states[1])
        expected, found = (network(images).asnumpy() for network in networks)
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    finally:
        ms.set_context(mode=before)


@pytest.mark.slow
def test_gradients_of_images_take_no_time_where_nobody_asks():
    path = str(kernels().library)
    network = DenseNet(architecture("densenet100", 3, **TINY), kernels=path).set_train()
    images = ms.Tensor(np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32))
    before = seconds_of(path, "stem_images_backward"), seconds_of(path, "stem_backward")
    gradients(network, images, of_images=False)
    assert seconds_of(path, "stem_images_backward") == before[0]
    assert seconds_of(path, "stem_backward") > before[1]
