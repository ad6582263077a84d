"""Running statistics counted anew: the means of the batches' own, and nothing else of the network changes."""

import numpy as np
import pytest
from mindspore import Tensor

from src.network.architecture import architecture
from src.network.densenet import DenseNet
from src.ops.build import kernels
from src.training.statistics import StatisticsRefresh

ARCH = architecture("densenet100", 3, block_config=(1, 1), growth_rate=4, stem_features=8)


@pytest.mark.slow
@pytest.mark.parametrize("with_kernels", [False, True])
def test_statistics_become_the_means_over_the_batches(with_kernels):
    network = DenseNet(ARCH, kernels=kernels().library if with_kernels else None)
    before = {p.name: p.asnumpy().copy() for p in network.get_parameters()}
    batches = [np.random.default_rng(i).normal(size=(4, 3, 8, 8)).astype(np.float32) + i for i in range(3)]
    refresh = StatisticsRefresh(network)
    for images in batches:
        refresh.take(images)
    refresh.finish()
    after = {p.name: p.asnumpy().copy() for p in network.get_parameters()}
    assert {name for name in after if (after[name] != before[name]).any()} == {n for n in after if ".moving_" in n}
    conv = network.backbone.features.conv0
    features = [conv(Tensor(images)).asnumpy() for images in batches]
    name = "backbone.features.norm0.moving_"
    np.testing.assert_allclose(after[name + "mean"], np.mean([f.mean((0, 2, 3)) for f in features], 0), atol=1e-5)
    variances = [f.var((0, 2, 3), ddof=1) for f in features]
    np.testing.assert_allclose(after[name + "variance"], np.mean(variances, 0), rtol=1e-4)
    for images in batches:  # the order does not matter, nor what was there before
        refresh.take(images)
    refresh.finish()
    for parameter in network.get_parameters():
        np.testing.assert_array_equal(parameter.asnumpy(), after[parameter.name])
