import mindspore as ms
import numpy as np
import pytest

from src.network.densenet import DenseNet, architecture


def values(seed: int) -> dict[str, np.ndarray]:
    network = DenseNet(architecture("densenet100", 10, block_config=(6, 6)), seed=seed)
    return {name: parameter.asnumpy() for name, parameter in network.parameters_dict().items()}


def test_only_the_seed_decides():
    ms.set_seed(1)
    np.random.seed(1)
    first = values(seed=4)
    ms.set_seed(2)
    again, other = values(seed=4), values(seed=5)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert [name for name in first if "conv" in name and np.array_equal(first[name], other[name])] == []
    assert not np.array_equal(first["head.fc.weight"], other["head.fc.weight"])


def test_follows_the_papers_reference_code():
    parameters = values(seed=0)
    weight = parameters["backbone.features.denseblock2.cell_list.5.conv1.weight"]  # (48, 108, 1, 1)
    assert weight.std() == pytest.approx(np.sqrt(2 / 48), rel=0.04)
    weight = parameters["backbone.features.denseblock2.cell_list.5.conv2.weight"]  # (12, 48, 3, 3)
    assert weight.std() == pytest.approx(np.sqrt(2 / (9 * 12)), rel=0.04)
    assert abs(weight.mean()) < 4 * np.sqrt(2 / (9 * 12)) / np.sqrt(weight.size)
    linear = parameters["head.fc.weight"]
    bound = 1 / np.sqrt(linear.shape[1])
    assert 0.99 * bound < np.abs(linear).max() <= bound
    assert linear.std() == pytest.approx(bound / np.sqrt(3), rel=0.05)
    assert not parameters["head.fc.bias"].any()
    assert all((value == 1).all() for name, value in parameters.items() if name.endswith("gamma"))
    assert not any(value.any() for name, value in parameters.items() if name.endswith("beta"))
