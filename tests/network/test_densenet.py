import mindspore as ms
import numpy as np
import pytest
from mindspore import nn
from numpy_densenet import forward

from src.network.densenet import DenseNet, architecture

ms.set_context(mode=ms.GRAPH_MODE)

TINY = {"growth_rate": 4, "block_config": (2, 3), "stem_features": 6}


def values(network: nn.Cell) -> dict[str, np.ndarray]:
    return {name: parameter.asnumpy().copy() for name, parameter in network.parameters_dict().items()}


def images(*shape: int) -> ms.Tensor:
    return ms.Tensor(np.random.default_rng(0).standard_normal(shape, np.float32))


def with_random_statistics(network: nn.Cell) -> nn.Cell:
    """Batch normalisation that is not the identity, so that a test sees it."""
    random = np.random.default_rng(1)
    for name, parameter in network.parameters_dict().items():
        if name.endswith((".gamma", ".moving_variance")):
            parameter.set_data(ms.Tensor(random.uniform(0.5, 2.0, parameter.shape), ms.float32))
        elif name.endswith((".beta", ".moving_mean", ".bias")):
            parameter.set_data(ms.Tensor(random.normal(0, 0.5, parameter.shape), ms.float32))
    return network


@pytest.mark.slow
@pytest.mark.parametrize(
    ("net", "num_classes", "weights", "parameters"),
    [
        ("densenet121", 1000, 7_978_856, 606),
        ("densenet161", 1000, 28_681_000, 806),
        ("densenet169", 1000, 14_149_480, 846),
        ("densenet201", 1000, 20_013_928, 1006),
        ("densenet100", 10, 769_210, 501),
    ],
)
def test_size(net, num_classes, weights, parameters):
    network = DenseNet(architecture(net, num_classes))
    assert sum(parameter.size for parameter in network.trainable_params()) == weights
    # Each convolution has one parameter, each normalisation four, the classifier two: torchvision's as well.
    assert len(network.parameters_dict()) == parameters


def test_parameter_names_and_shapes_are_those_of_the_model_zoo():
    shapes = {name: value.shape for name, value in values(DenseNet(architecture("densenet121", 1000))).items()}
    expected = {
        "backbone.features.conv0.weight": (64, 3, 7, 7),
        "backbone.features.norm0.gamma": (64,),
        "backbone.features.denseblock1.cell_list.0.norm1.gamma": (64,),
        "backbone.features.denseblock1.cell_list.0.conv1.weight": (128, 64, 1, 1),
        "backbone.features.denseblock1.cell_list.5.norm2.moving_mean": (128,),
        "backbone.features.denseblock1.cell_list.5.conv2.weight": (32, 128, 3, 3),
        "backbone.features.transition1.features.norm.moving_variance": (256,),
        "backbone.features.transition3.features.conv.weight": (512, 1024, 1, 1),
        "backbone.features.denseblock4.cell_list.15.norm1.beta": (992,),
        "backbone.features.norm5.beta": (1024,),
        "head.fc.weight": (1000, 1024),
        "head.fc.bias": (1000,),
    }
    assert {name: shapes.get(name) for name in expected} == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("net", "size", "pools"),
    [
        ("densenet100", 8, {"transition_pool": "avg"}),
        ("densenet100", 7, {"transition_pool": "avg"}),
        ("densenet100", 7, {"transition_pool": "max"}),
        ("densenet121", 32, {"stem_pool": "pad"}),
        ("densenet121", 37, {"stem_pool": "pad"}),
        ("densenet121", 32, {"stem_pool": "same", "transition_pool": "max"}),
    ],
)
def test_equals_the_paper_in_numpy(net, size, pools):
    arch = architecture(net, 5, **TINY, **pools)
    network = with_random_statistics(DenseNet(arch)).set_train(False)
    x = images(2, 3, size, size)
    expected = forward(values(network), arch, x.asnumpy())
    np.testing.assert_allclose(network(x).asnumpy(), expected, atol=2e-5 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("net", "overrides", "height", "width", "expected"),
    [
        ("densenet100", {}, 32, 32, (2, 342, 8, 8)),
        ("densenet121", {"block_config": (1, 1, 1, 1)}, 64, 96, (2, 68, 2, 3)),
        ("densenet121", {"block_config": (1, 1, 1, 1)}, 29, 29, (2, 68, 1, 1)),
        ("densenet161", TINY | {"compression": 1.0, "bn_size": 2}, 33, 33, (2, 26, 4, 4)),
        ("densenet100", TINY | {"compression": 0.01}, 2, 3, (2, 13, 1, 1)),
    ],
)
def test_feature_shapes(net, overrides, height, width, expected):
    arch = architecture(net, 3, **overrides)
    features = DenseNet(arch, include_top=False).set_train(False)(images(2, 3, height, width))
    assert features.shape == expected
    assert (arch.feature_size(height), arch.feature_size(width)) == expected[2:]


@pytest.mark.slow
def test_training_moves_the_running_statistics_by_a_tenth():
    network = DenseNet(architecture("densenet100", 3, **TINY)).set_train()
    x = images(4, 3, 8, 8)
    network(x)
    after = values(network)
    stem = nn.Conv2d(3, 6, 3, pad_mode="same", weight_init=network.backbone.features.conv0.weight)(x).asnumpy()
    np.testing.assert_allclose(after["backbone.features.norm0.moving_mean"], 0.1 * stem.mean((0, 2, 3)), atol=1e-6)
    unbiased = stem.var((0, 2, 3), ddof=1)  # as PyTorch's
    np.testing.assert_allclose(after["backbone.features.norm0.moving_variance"], 0.9 + 0.1 * unbiased, rtol=1e-5)


@pytest.mark.slow
def test_head_stays_in_float32_under_mixed_precision():
    network = with_random_statistics(DenseNet(architecture("densenet100", 3, **TINY))).set_train(False)
    x = images(2, 3, 8, 8)
    full = network(x).asnumpy()
    half_network = DenseNet(network.architecture).set_train(False)
    ms.load_param_into_net(half_network, network.parameters_dict())
    half = half_network.to_float(ms.float16)(x)
    assert half.dtype == ms.float32
    assert not np.array_equal(half.asnumpy(), full)  # the backbone did compute in float16
    np.testing.assert_allclose(half.asnumpy(), full, atol=0.02 * np.abs(full).max())
    # A value that float16 cannot hold beside 1 comes out of the head as it went in.
    half_network.head.fc.bias.set_data(ms.Tensor([2048.0, 2049.0, 2051.0], ms.float32))
    half_network.head.fc.weight.set_data(ms.ops.zeros_like(half_network.head.fc.weight))
    assert half_network(x).asnumpy()[0].tolist() == [2048.0, 2049.0, 2051.0]


@pytest.mark.slow
def test_dropout_changes_training_only_and_is_absent_at_rate_zero():
    x = images(4, 3, 8, 8)
    plain = DenseNet(architecture("densenet100", 3, **TINY))
    dropped = DenseNet(architecture("densenet100", 3, **TINY, drop_rate=0.5))
    states = [name for name in dropped.parameters_dict() if name.endswith("dropout.random_state")]
    assert len(states) == 5  # one a dense layer
    assert set(dropped.parameters_dict()) - set(plain.parameters_dict()) == set(states)
    assert len({values(dropped)[name][0] for name in states}) == 5
    np.testing.assert_array_equal(plain.set_train(False)(x).asnumpy(), dropped.set_train(False)(x).asnumpy())
    assert not np.array_equal(dropped.set_train()(x).asnumpy(), dropped(x).asnumpy())


@pytest.mark.slow
def test_a_call_does_not_touch_each_cell():
    """As MindSpore would: with hundreds of cells that takes as long as a good part of the work."""
    net = DenseNet(architecture("densenet100", 3, **TINY))
    net(images(1, 3, 8, 8))
    assert net.compile_phase
    assert not any(cell.compile_phase for _, cell in net.cells_and_names() if cell is not net)
    trained = nn.SequentialCell(net)
    trained(images(1, 3, 8, 8))
    assert trained.compile_phase == net.compile_phase
