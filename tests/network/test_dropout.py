from functools import cache

import mindspore as ms
import numpy as np
import pytest

from src.network.dropout import CountedDropout
from src.utils.parameters import overwrite

ms.set_context(mode=ms.GRAPH_MODE)
ONES = ms.Tensor(np.ones((16, 12, 16, 16), np.float32))


def masks(dropout: CountedDropout, count: int) -> np.ndarray:
    return np.stack([dropout(ONES).asnumpy() > 0 for _ in range(count)])


@cache
def half() -> CountedDropout:
    """Compiled once for all keys, which are numbers of its state."""
    return CountedDropout(0.5, key=0).set_train()


def masks_of_half(key: int, count: int) -> np.ndarray:
    """The first masks of a new one with that key."""
    overwrite(half().random_state, CountedDropout(0.5, key).random_state.asnumpy())
    return masks(half(), count)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.1, 0.2, 0.5])
def test_drops_its_share_and_scales_the_rest(rate):
    y = CountedDropout(rate, key=-7).set_train()(ONES).asnumpy()
    deviation = np.sqrt(rate * (1 - rate) / y.size)
    assert abs((y == 0).mean() - rate) < 4 * deviation
    assert abs(y.mean() - 1) < 4 * deviation / (1 - rate)
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / (1 - rate))}


def test_calls_layers_and_neighbours_are_independent():
    one = masks_of_half(1, 8) * 2.0 - 1.0
    two = masks_of_half(2, 8) * 2.0 - 1.0
    pairs = {
        "calls": (one[1:], one[:-1]),
        "layers": (one, two),
        "layers, one call apart": (one[1:], two[:-1]),
        "samples": (one[:, 1:], one[:, :-1]),
        "channels": (one[:, :, 1:], one[:, :, :-1]),
        "rows": (one[:, :, :, 1:], one[:, :, :, :-1]),
        "columns": (one[..., 1:], one[..., :-1]),
    }
    for name, (a, b) in pairs.items():
        assert abs((a * b).mean()) < 4 / np.sqrt(a.size), name  # 4 standard deviations of independent signs


def test_counts_of_kept_elements_vary_as_those_of_a_coin():
    kept = masks_of_half(3, 8).reshape(8 * 16 * 12, -1).mean(1)
    assert kept.var() / (0.25 / 256) == pytest.approx(1, abs=4 * np.sqrt(2 / kept.size))


def test_restored_state_goes_on_bit_for_bit():
    dropout = CountedDropout(0.3, key=5).set_train()
    masks(dropout, 3)
    state = dropout.random_state.asnumpy().copy()
    assert state.tolist() == [5, 3]
    expected = masks(dropout, 3)
    resumed = CountedDropout(0.3, key=99).set_train()
    resumed.random_state.set_data(ms.Tensor(state))
    np.testing.assert_array_equal(masks(resumed, 3), expected)


def test_evaluation_is_the_identity_and_counts_nothing():
    dropout = CountedDropout(0.9, key=5).set_train(False)
    assert masks(dropout, 2).all()
    assert dropout.random_state.asnumpy().tolist() == [5, 0]


def test_gradient_passes_where_the_value_passed():
    dropout = CountedDropout(0.5, key=5).set_train()

    def total(x):
        return dropout(x).sum()

    value, gradient = ms.value_and_grad(total)(ONES)
    assert gradient.asnumpy().sum() == value.asnumpy()
    assert set(np.unique(gradient.asnumpy())) == {0.0, 2.0}
