"""What `auto` stands for, and which cells compute in float16."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from src.network.mixed_precision import apply_amp_level, resolve_amp_level


class ConvAndNorm(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1, weight_init="ones")
        self.norm = nn.BatchNorm2d(1)

    def construct(self, images):
        convolved = self.conv(images)
        return convolved, self.norm(convolved)


@pytest.mark.parametrize(
    ("level", "device", "resolved"),
    [
        ("auto", "Ascend", "O3"),
        ("auto", "CPU", "O0"),
        ("auto", "GPU", "O0"),
        ("O2", "CPU", "O2"),
        ("O0", "Ascend", "O0"),
    ],
)
def test_auto_level_depends_on_the_device(level, device, resolved):
    assert resolve_amp_level(level, device) == resolved


@pytest.mark.parametrize(
    ("level", "after_conv", "after_norm"),
    [("O0", ms.float32, ms.float32), ("O2", ms.float16, ms.float32), ("O3", ms.float16, ms.float16)],
)
def test_levels_choose_the_cells_and_the_weights_stay_float32(level, after_conv, after_norm):
    network = ConvAndNorm().set_train(False)
    apply_amp_level(network, level)
    value = np.full((1, 1, 2, 2), 1 + 2**-12, np.float32)  # needs more than float16's 11 bits
    convolved, normed = network(Tensor(value))
    assert (convolved.dtype, normed.dtype) == (after_conv, after_norm)
    assert (convolved.asnumpy().max() == np.float32(1 + 2**-12)) == (level == "O0")
    assert {parameter.dtype for parameter in network.get_parameters()} == {ms.float32}
