"""Heat maps against finite differences of the logits, and against CAM."""

import numpy as np
import pytest
from mindspore import Tensor

from src.network.architecture import architecture
from src.network.build import build_network
from src.network.grad_cam import GradCam

ARCH = architecture("densenet100", 3, growth_rate=4, block_config=(1, 2), stem_features=8)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).standard_normal((2, 3, 8, 8), np.float32)


@pytest.fixture(scope="module", params=["on", "off"])
def explained(request):
    """A network, and what explains it."""
    network = build_network(ARCH, device="CPU", cpu_kernels=request.param, cpu_precision="fp32", keeps_features=True)
    network.set_train(False)
    return network, GradCam(network)


@pytest.mark.slow
def test_the_heat_is_that_of_the_gradient_which_finite_differences_have(explained, images):
    """A step in one feature changes the logit by the gradient: the head is linear, so by exactly that."""
    network, cam = explained
    features = network.backbone(Tensor(images)).asnumpy()
    for chosen in ([0, 2], [1, 1]):
        weights = np.zeros(features.shape[:2])
        for channel in range(features.shape[1]):
            for y, x in np.ndindex(features.shape[2:]):
                step = np.zeros_like(features)
                step[:, channel, y, x] = 0.5
                high, low = (network.head(Tensor(features + s)).asnumpy() for s in (step, -step))
                weights[:, channel] += (high - low)[[0, 1], chosen] / features[0, 0].size
        expected = np.maximum((features * weights[:, :, None, None]).sum(1), 0)
        logits, heat = cam(images, np.array(chosen))
        np.testing.assert_allclose(heat, expected, rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(logits, network.head(Tensor(features)).asnumpy(), rtol=1e-5)
        assert heat.shape == (2, *features.shape[2:])


@pytest.mark.slow
def test_it_is_cam_divided_by_the_pixels(explained, images):
    """Zhou et al. 2016, equation 2: the sum of the features, each times its weight for the class."""
    network, cam = explained
    features = network.backbone(Tensor(images)).asnumpy()
    logits, heat = cam(images)
    weights = network.head.fc.weight.asnumpy()[logits.argmax(1)]
    expected = np.einsum("bk,bkhw->bhw", weights, features)
    np.testing.assert_allclose(heat, np.maximum(expected, 0) / features[0, 0].size, rtol=1e-4, atol=1e-6)
    assert heat.max() > 0
