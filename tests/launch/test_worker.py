"""What stands between msrun and the command."""

import pytest

from src.launch.worker import cores_of


@pytest.mark.parametrize(
    "shares, cores, expected",
    [
        (1, [0, 1], [{0, 1}]),
        (2, [0, 1], [{0}, {1}]),
        (2, [2, 5, 7], [{2}, {5, 7}]),
        (4, [3, 8], [{3}, {8}, {3}, {8}]),
    ],
)
def test_cores_are_shared_out_evenly(shares, cores, expected):
    assert [cores_of(share, shares, cores) for share in range(shares)] == expected
