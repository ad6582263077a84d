import mindspore as ms
import numpy as np
import pytest
from commands import ROOT
from peak_memory import LossAndGradients

from src.network.densenet import DenseNet, architecture

ms.set_context(mode=ms.GRAPH_MODE)
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


@pytest.mark.slow
def test_halves_the_memory_of_a_step(forked):
    def peak_megabytes(mode: str) -> int:
        run = forked.run("tests/network/peak_memory", [mode], ROOT)
        assert run.returncode == 0, run.stderr
        return int(run.stdout.split()[-1]) // 1024

    import_only = 420  # megabytes of a process that has imported MindSpore and built the network
    assert peak_megabytes("recompute") - import_only < 0.6 * (peak_megabytes("plain") - import_only)
