from functools import partial

import pytest

from src.network.architecture import architecture
from src.network.densenet import DenseNet
from src.optimizers.layer_decay import depth_groups, layer_factors

NAMES = (
    "backbone.features.conv0.weight",
    "backbone.features.norm0.gamma",
    "backbone.features.denseblock1.cell_list.0.norm1.beta",
    "backbone.features.transition1.features.conv.weight",
    "backbone.features.denseblock2.cell_list.10.conv2.weight",
    "backbone.features.norm5.gamma",
    "head.fc.bias",
)


def test_groups_and_factors_by_hand():
    assert depth_groups(NAMES) == [0, 0, 1, 1, 2, 3, 3]
    assert layer_factors(NAMES, 0.5) == (0.125, 0.125, 0.25, 0.25, 0.5, 1.0, 1.0)
    assert layer_factors(NAMES, 1.0) == (1.0,) * 7
    assert layer_factors(NAMES[-2:], 0.5) == (1.0, 1.0)  # what is left when all blocks are frozen


@pytest.mark.slow
def test_groups_and_factors_are_timms():
    """Of the same network: its coarse groups, in the order of the parameters, and what it scales their rates with."""
    from scripts.benchmarks.torchvision_beside_cpu import torchvision  # noqa: F401, I001, timm imports it

    import timm
    from timm.models import group_parameters
    from timm.optim import param_groups_layer_decay

    model = timm.create_model("densenet121", num_classes=5)
    grouped = group_parameters(model, model.group_matcher(coarse=True))
    theirs = {name: group for group, names in grouped.items() for name in names}
    own = DenseNet(architecture("densenet121", 5))
    names = [parameter.name for parameter in own.trainable_params()]
    groups = depth_groups(names)
    assert groups == [theirs[name] for name, _ in model.named_parameters()]

    model.group_matcher = partial(lambda matcher, **_: matcher(coarse=True), model.group_matcher)
    scales = {}
    for group in param_groups_layer_decay(model, layer_decay=0.7):
        scales |= {id(parameter): group["lr_scale"] for parameter in group["params"]}
    assert list(layer_factors(names, 0.7)) == pytest.approx([scales[id(p)] for p in model.parameters()])
