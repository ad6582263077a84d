import subprocess
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

from src.losses.crossentropy import CrossEntropy
from src.network.densenet import DenseNet, architecture

ms.set_context(mode=ms.GRAPH_MODE)
ROOT = Path(__file__).parents[2]
ARCH = {"growth_rate": 4, "block_config": (3, 2), "stem_features": 6}


def two_steps(recompute: bool, half: bool = False, **overrides) -> dict[str, np.ndarray]:
    """Loss, gradients and all parameters after two forward and backward passes in training mode."""
    random = np.random.default_rng(0)
    x = ms.Tensor(random.standard_normal((4, 3, 9, 9), np.float32))
    labels = ms.Tensor([0, 2, 1, 2], ms.int32)
    network = DenseNet(architecture("densenet100", 3, **ARCH, **overrides), recompute=recompute, seed=3).set_train()
    if half:
        network.to_float(ms.float16)
    step = LossAndGradients(network)
    for _ in range(2):
        loss, gradients = step(x, labels)
    weights = network.trainable_params()
    results = {f"gradient of {weight.name}": grad.asnumpy() for weight, grad in zip(weights, gradients, strict=True)}
    results |= {name: parameter.asnumpy() for name, parameter in network.parameters_dict().items()}
    return results | {"loss": loss.asnumpy()}


class LossAndGradients(ms.nn.Cell):
    def __init__(self, network):
        super().__init__(auto_prefix=False)
        self.network = network
        self.loss = CrossEntropy()
        self.gradients = ms.value_and_grad(self.forward, None, network.trainable_params())

    def forward(self, x, labels):
        return self.loss(self.network(x), labels)

    def construct(self, x, labels):
        return self.gradients(x, labels)


@pytest.mark.slow
@pytest.mark.parametrize("drop_rate", [0.0, 0.3])
def test_same_bits_with_and_without(drop_rate):
    plain, recomputed = two_steps(False, drop_rate=drop_rate), two_steps(True, drop_rate=drop_rate)
    assert plain.keys() == recomputed.keys()
    different = [name for name in plain if not np.array_equal(plain[name], recomputed[name])]
    assert different == []
    assert np.abs(plain["gradient of backbone.features.denseblock1.cell_list.2.norm1.gamma"]).max() > 0


@pytest.mark.slow
def test_running_statistics_move_in_half_precision_too():
    plain, recomputed = two_steps(False, half=True), two_steps(True, half=True)
    name = "backbone.features.denseblock1.cell_list.2.norm1.moving_mean"
    assert np.abs(plain[name]).min() > 1e-4
    for name in plain:
        np.testing.assert_allclose(recomputed[name], plain[name], atol=1e-3, err_msg=name)


@pytest.mark.slow
def test_parameters_and_evaluation_do_not_depend_on_it():
    x = ms.Tensor(np.random.default_rng(0).standard_normal((2, 3, 8, 8), np.float32))
    plain = DenseNet(architecture("densenet100", 3, **ARCH)).set_train(False)
    recomputing = DenseNet(architecture("densenet100", 3, **ARCH), recompute=True).set_train(False)
    assert list(plain.parameters_dict()) == list(recomputing.parameters_dict())
    np.testing.assert_array_equal(plain(x).asnumpy(), recomputing(x).asnumpy())


PEAK_MEMORY = """
import sys
import src, mindspore as ms, numpy as np
from src.network.densenet import DenseNet, architecture
from tests.network.test_recompute import LossAndGradients
ms.set_context(mode=ms.GRAPH_MODE)
ms.set_device("CPU")
arch = architecture("densenet100", 10, block_config=(16,))
step = LossAndGradients(DenseNet(arch, recompute=sys.argv[1] == "recompute").set_train())
step(ms.Tensor(np.zeros((64, 3, 32, 32), np.float32)), ms.Tensor(np.zeros(64, np.int32)))[0].asnumpy()
# Not ru_maxrss, which in a child begins with its parent's.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.slow
def test_halves_the_memory_of_a_step():
    def peak_megabytes(mode: str) -> int:
        command = [sys.executable, "-c", PEAK_MEMORY, mode]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        return int(run.stdout.split()[-1]) // 1024

    import_only = 420  # megabytes of a process that has imported MindSpore and built the network
    assert peak_megabytes("recompute") - import_only < 0.6 * (peak_megabytes("plain") - import_only)
