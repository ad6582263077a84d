"""Sizes over the epochs."""

import pytest

from src.network.architecture import architecture
from src.training.sizes import check_sizes, size_of_epoch
from src.utils.errors import ReportedError, UsageError


@pytest.mark.parametrize(
    ("sizes", "epochs", "expected"),
    [
        ((160, 192, 224), 6, [160, 160, 192, 192, 224, 224]),
        ((16, 32), 5, [16, 16, 16, 32, 32]),
        ((8, 16, 24), 3, [8, 16, 24]),
        ((32,), 2, [32, 32]),
        ((), 2, [0, 0]),
    ],
)
def test_each_has_an_equal_part_and_the_last_stays(sizes, epochs, expected):
    assert [size_of_epoch(sizes, epoch, epochs) for epoch in range(epochs)] == expected
    assert size_of_epoch(sizes, epochs + 7, epochs) == expected[-1]


def test_what_cannot_be_is_said():
    arch = architecture("densenet121", 10)
    check_sizes((), 224, arch, 32)
    check_sizes((160, 224), 224, arch, 32)
    with pytest.raises(UsageError, match="found progressive_size 160,192 with image_size 224, expected image_size as"):
        check_sizes((160, 192), 224, arch, 32)
    with pytest.raises(ReportedError, match="image_size is 16: the pools of densenet121"):
        check_sizes((16, 224), 224, arch, 32)
