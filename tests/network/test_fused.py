"""The network of the C++ kernels beside the plain one with the same parameters."""

import mindspore as ms
import numpy as np
import pytest

from src.network.architecture import architecture
from src.network.densenet import DenseNet
from src.ops.build import kernels

TINY = {"growth_rate": 4, "block_config": (1,), "stem_features": 6}


def gradients(network: DenseNet, images: ms.Tensor) -> list[np.ndarray]:
    """Of a sum of the logits, weighed so that none cancels another."""
    weights = ms.Tensor(np.arange(1, 4, dtype=np.float32))

    def loss(x):
        return (network(x) * weights).sum()

    return [g.asnumpy() for g in ms.grad(loss, None, ms.ParameterTuple(network.trainable_params()))(images)]


@pytest.mark.slow
def test_one_channel_as_the_plain_network():
    arch = architecture("densenet121", 3, **TINY, input_channels=1)
    plain, fused = DenseNet(arch), DenseNet(arch, kernels=str(kernels().library))
    images = ms.Tensor(np.random.default_rng(0).normal(size=(4, 1, 16, 16)).astype(np.float32))
    expected, found = (gradients(network.set_train(), images) for network in (plain, fused))
    assert found[0].shape[1] == 1
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5 * max(1.0, np.abs(theirs).max()))
    expected, found = (network.set_train(False)(images).asnumpy() for network in (plain, fused))
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
