"""The loss of several labels an image against PyTorch's, value and gradient, far from 0 and at it."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from src.losses.binary_cross_entropy import BinaryCrossEntropy

RANDOM = np.random.default_rng(0)
LOGITS = np.concatenate([RANDOM.normal(size=(6, 5)), [[0.0, 80.0, -80.0, 30.0, -30.0]]]).astype(np.float32)
LABELS = RANDOM.integers(-1, 2, (7, 5)).astype(np.int8)


@pytest.mark.slow  # scripts/test.sh fast has no PyTorch
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [(), (0.5, 1.0, 2.0, 3.0, 10.0)], ids=["", "weighted"])
def test_equals_pytorchs(smoothing, weights):
    import torch

    loss = BinaryCrossEntropy(smoothing, weights)
    value, gradient = ms.value_and_grad(loss, 0)(Tensor(LOGITS), Tensor(LABELS))
    logits = torch.tensor(LOGITS, dtype=torch.float64, requires_grad=True)
    known, target = torch.tensor(LABELS >= 0), torch.tensor(LABELS == 1, dtype=torch.float64)
    target = (1 - smoothing) * target + smoothing / 2
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, target, pos_weight=torch.tensor(weights, dtype=torch.float64) if weights else None, reduction="none"
    )[known].mean()
    expected.backward()
    assert float(value.asnumpy()) == pytest.approx(float(expected), rel=1e-6)
    np.testing.assert_allclose(gradient.asnumpy(), logits.grad, atol=1e-7)


def test_unknown_labels_leave_no_trace():
    one_known = np.full((2, 3), -1, np.int8)
    one_known[0, 1] = 1
    value, gradient = ms.value_and_grad(BinaryCrossEntropy(), 0)(Tensor(LOGITS[:2, :3]), Tensor(one_known))
    assert np.count_nonzero(gradient.asnumpy()) == 1
    assert float(value.asnumpy()) == pytest.approx(np.log1p(np.exp(-LOGITS[0, 1])), rel=1e-6)
    nothing, gradient = ms.value_and_grad(BinaryCrossEntropy(), 0)(
        Tensor(LOGITS[:2, :3]), Tensor(np.full((2, 3), -1, np.int8))
    )
    assert float(nothing.asnumpy()) == 0 and not gradient.asnumpy().any()
