"""PyTorch's names, and the network that shapes alone give away. test_torch_parity.py compares with PyTorch."""

import pytest

from src.deploy.torch_names import infer_architecture, present_style, torch_name
from src.network.densenet import NETWORKS, DenseNet, architecture
from src.utils.errors import ReportedError

TINY = {"growth_rate": 4, "block_config": (1, 2), "stem_features": 6}


def shapes_of(net: str, **overrides) -> dict[str, tuple[int, ...]]:
    """What a file of this network with 7 classes holds."""
    network = DenseNet(architecture(net, 7, **overrides))
    return {torch_name(name): parameter.shape for name, parameter in network.parameters_dict().items()}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("backbone.features.conv0.weight", "features.conv0.weight"),
        ("backbone.features.norm0.gamma", "features.norm0.weight"),
        ("backbone.features.denseblock1.cell_list.0.norm1.beta", "features.denseblock1.denselayer1.norm1.bias"),
        ("backbone.features.denseblock4.cell_list.15.conv2.weight", "features.denseblock4.denselayer16.conv2.weight"),
        ("backbone.features.transition2.features.norm.moving_mean", "features.transition2.norm.running_mean"),
        ("backbone.features.transition2.features.conv.weight", "features.transition2.conv.weight"),
        ("backbone.features.norm5.moving_variance", "features.norm5.running_var"),
        ("head.fc.weight", "classifier.weight"),
        ("head.fc.bias", "classifier.bias"),
    ],
)
def test_names(ours, theirs):
    assert torch_name(ours) == theirs
    assert present_style(theirs) == theirs


def test_names_of_the_files_that_torchvision_released():
    old = "features.denseblock1.denselayer12.norm.2.running_var"
    assert present_style(old) == "features.denseblock1.denselayer12.norm2.running_var"
    assert present_style("features.denseblock1.denselayer1.conv.1.weight").endswith("denselayer1.conv1.weight")


@pytest.mark.slow
@pytest.mark.parametrize("net", NETWORKS)
def test_each_network_is_known_by_its_shapes(net):
    assert infer_architecture(shapes_of(net)) == architecture(net, 7)


@pytest.mark.parametrize("overrides", [{}, {"compression": 0.8}, {"bn_size": 2}, {"block_config": (3,)}])
def test_a_relative_needs_the_name_of_the_network_it_comes_from(overrides):
    arch = architecture("densenet121", 7, **TINY | overrides)
    assert infer_architecture(shapes_of("densenet121", **TINY | overrides), "densenet121") == arch
    with pytest.raises(ReportedError, match=r"growth_rate 4, block_config \(.*, stem conv7x7, stem_features 6"):
        infer_architecture(shapes_of("densenet121", **TINY | overrides))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features.conv0.weight": None}, "not the weights of a DenseNet classifier: features.conv0.weight is missing"),
        ({"classifier.weight": None}, "classifier.weight is missing"),
        ({"classifier.weight": (7,)}, r"classifier.weight is of shape \(7,\)"),
        ({"features.denseblock1.denselayer1.conv2.weight": ()}, r"denselayer1.conv2.weight is of shape \(\)"),
        (
            {"features.denseblock1.denselayer1.conv2.weight": (0, 16, 3, 3)},
            "growth_rate is 0, expected",
        ),
        ({"features.denseblock1.denselayer1.conv2.weight": (4, 0, 3, 3)}, "bn_size is 0, expected"),
        ({"features.transition1.conv.weight": (5,)}, "compression is 5.0, expected a number from 0.001 to 1"),
        ({"classifier.weight": (0, 9)}, "num_classes is 0, expected"),
        ({"features.denseblock9.denselayer1.conv2.weight": (4, 16, 3, 3)}, r"block_config is \(1, 2, 0\), expected"),
        ({"features.denseblock1.denselayer" + "9" * 5000 + ".conv2.weight": ()}, None),
    ],
)
def test_shapes_of_no_densenet(change, message):
    shapes = {k: v for k, v in (shapes_of("densenet121", **TINY) | change).items() if v is not None}
    if message is None:
        assert infer_architecture(shapes, "densenet121").block_config == TINY["block_config"]
        return
    with pytest.raises(ReportedError, match=message):
        infer_architecture(shapes, "densenet121")


def test_another_name_than_the_shapes_say():
    with pytest.raises(ReportedError, match="these are the weights of densenet100, not of densenet121; leave the net"):
        infer_architecture(shapes_of("densenet100"), "densenet121")
