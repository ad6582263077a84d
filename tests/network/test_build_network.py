"""Which network a command runs."""

import pytest

from src.network.architecture import architecture
from src.network.build import build_network
from src.utils.errors import ReportedError

TINY = {"block_config": (1,), "growth_rate": 2, "stem_features": 2}


def build(arch=None, **options):
    options = {"device": "CPU", "cpu_kernels": "auto", "cpu_precision": "fp32", **options}
    return build_network(arch or architecture("densenet100", 3, **TINY), **options)


@pytest.mark.parametrize(
    ("fields", "options", "fused"),
    [
        ({}, {}, True),
        ({}, {"cpu_kernels": "off"}, False),
        ({}, {"device": "GPU"}, False),
        ({}, {"amp_level": "O2"}, False),
        ({}, {"norm_ranks": 2}, False),
        ({"transition_pool": "max"}, {}, True),
        ({"drop_rate": 0.1}, {}, True),
    ],
)
def test_kernels_are_used_where_they_have_everything(fields, options, fused):
    network = build(architecture("densenet100", 3, **TINY, **fields), **options)
    assert (network.kernels is not None) is (network.backbone.fused is not None) is fused


def test_kernels_that_were_asked_for_and_lack_something_are_an_error():
    with pytest.raises(ReportedError, match=r"they do not compute in float16 \(amp_level O3\)"):
        build(cpu_kernels="on", amp_level="O3")


def test_the_amp_level_is_applied():
    network = build(amp_level="O2")
    casts = {type(cell).__name__: cell.fp16 for _, cell in network.cells_and_names() if hasattr(cell, "fp16")}
    assert casts["Conv2d"] and not casts["BatchNorm2d"]


def test_the_seed_is_that_of_the_initial_weights():
    weights = [[p.asnumpy().tolist() for p in build(seed=seed).get_parameters()] for seed in (1, 1, 2)]
    assert weights[0] == weights[1] != weights[2]
