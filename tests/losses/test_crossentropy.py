import mindspore as ms
import numpy as np
import pytest

from src.losses.crossentropy import CrossEntropy

ms.set_context(mode=ms.GRAPH_MODE)
RANDOM = np.random.default_rng(0)
LOGITS = (RANDOM.standard_normal((6, 5)) * 8).astype(np.float32)
LABELS = np.array([0, 4, 2, 2, 1, 3], np.int32)


def reference(logits: np.ndarray, labels: np.ndarray, eps: float) -> tuple[float, np.ndarray]:
    """The mean loss and its gradient by the formula, in float64."""
    logits = logits.astype(np.float64)
    n, k = logits.shape
    target = (1 - eps) * np.eye(k)[labels] + eps / k
    shifted = logits - logits.max(1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return -(target * log_p).sum() / n, (np.exp(log_p) - target) / n


@pytest.mark.parametrize("eps", [0.0, 0.1, 0.5])
def test_equals_the_formula(eps):
    loss = CrossEntropy(eps)
    value, gradient = ms.value_and_grad(loss)(ms.Tensor(LOGITS), ms.Tensor(LABELS))
    expected, expected_gradient = reference(LOGITS, LABELS, eps)
    assert value.shape == () and value.dtype == ms.float32
    np.testing.assert_allclose(value.asnumpy(), expected, rtol=1e-6)
    np.testing.assert_allclose(gradient.asnumpy(), expected_gradient, atol=1e-6)


@pytest.mark.slow  # scripts/test.sh fast has no PyTorch
@pytest.mark.parametrize("eps", [0.0, 0.2])
def test_class_weights_are_pytorchs(eps):
    import torch

    weights = [0.5, 1.0, 0.0, 2.0, 4.0]
    value, gradient = ms.value_and_grad(CrossEntropy(eps, weights))(ms.Tensor(LOGITS), ms.Tensor(LABELS))
    logits = torch.tensor(LOGITS, dtype=torch.float64, requires_grad=True)
    loss = torch.nn.CrossEntropyLoss(torch.tensor(weights, dtype=torch.float64), label_smoothing=eps)
    expected = loss(logits, torch.tensor(LABELS, dtype=torch.int64))
    expected.backward()
    np.testing.assert_allclose(value.asnumpy(), expected.detach(), rtol=1e-6)
    np.testing.assert_allclose(gradient.asnumpy(), logits.grad, rtol=1e-4, atol=5e-6)


def test_large_logits_stay_finite():
    logits = np.array([[1e4, -1e4, 0], [0, 1e4, -1e4]], np.float32)
    assert CrossEntropy()(ms.Tensor(logits), ms.Tensor([1, 1], ms.int32)).asnumpy() == 1e4


def test_float16_logits_are_summed_in_float32():
    loss = CrossEntropy(0.1)(ms.Tensor(LOGITS.astype(np.float16)), ms.Tensor(LABELS))
    expected, _ = reference(LOGITS.astype(np.float16), LABELS, 0.1)
    assert loss.dtype == ms.float32
    np.testing.assert_allclose(loss.asnumpy(), expected, rtol=1e-6)


def test_smoothing_out_of_range():
    with pytest.raises(ValueError, match=r"label_smoothing is 1.0, expected 0 <= label_smoothing < 1"):
        CrossEntropy(1.0)
