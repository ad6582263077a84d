"""MindSpore Hub's own steps on this repository: load the file by its path, create the network, put a checkpoint in."""

import importlib.util

import mindspore as ms
import numpy as np
import pytest
from commands import ROOT

from src.network.densenet import NETWORKS
from src.utils.checkpoint import load_checkpoint
from src.utils.errors import ReportedError

TINY = {"growth_rate": 4, "block_config": (1, 1), "stem_features": 8}


@pytest.fixture(scope="module")
def create_network():
    spec = importlib.util.spec_from_file_location("mindspore_hub_conf.py", ROOT / "mindspore_hub_conf.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.create_network


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_by_its_name(create_network, name):
    network = create_network(name, **TINY)
    assert isinstance(network, ms.nn.Cell)
    assert network.architecture.net == name
    assert network.head.fc.weight.shape[0] == (10 if name == "densenet100" else 1000)


def test_arguments_reach_the_network(create_network):
    network = create_network("densenet121", 7, transition_pool="max", stem_pool="same", **TINY)
    assert (network.architecture.num_classes, network.architecture.transition_pool) == (7, "max")
    features = create_network("densenet121", include_top=False, **TINY).set_train(False)(ms.ops.zeros((1, 3, 32, 32)))
    assert features.shape == (1, 10, 4, 4)  # (8 + 4) / 2 + 4


def test_a_checkpoint_of_train_py_goes_in_as_hub_does_it(create_network, trained_run):
    checkpoint = load_checkpoint(trained_run / "best.ckpt")
    network = create_network("densenet100", 10, **TINY)
    not_loaded, _ = ms.load_param_into_net(network, ms.load_checkpoint(str(checkpoint.path)))
    assert not_loaded == []
    for name, value in checkpoint.weights().items():
        np.testing.assert_array_equal(network.parameters_dict()[name].asnumpy(), value)


def test_other_names_and_values(create_network):
    with pytest.raises(NotImplementedError, match=r"^densenet264 is not implemented in the repo; it has densenet100"):
        create_network("densenet264")
    with pytest.raises(ReportedError, match="growth_rate is 0, expected an integer from 1 to 512"):
        create_network("densenet121", 10, growth_rate=0)
