import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from src.losses.build import build_distillation
from src.losses.distillation import BinaryDistillationLoss, DistillationLoss


def draw() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return tuple(random.normal(0, 3, (5, 7)).astype(np.float32) for _ in range(2))


def loss_and_gradient(temperature: float, logits, teacher_logits, kind=DistillationLoss) -> tuple[float, np.ndarray]:
    function = ms.value_and_grad(kind(temperature), 0)
    loss, gradient = function(Tensor(logits), Tensor(teacher_logits))
    return float(loss.asnumpy()), gradient.asnumpy()


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_equals_numpy(temperature):
    """Its gradient is T (q - p) / N, as in section 2 of the paper with the factor T^2."""
    logits, teacher_logits = draw()
    q, p = (np.exp(value.astype(np.float64) / temperature) for value in (logits, teacher_logits))
    q, p = q / q.sum(1, keepdims=True), p / p.sum(1, keepdims=True)
    loss, gradient = loss_and_gradient(temperature, logits, teacher_logits)
    assert loss == pytest.approx(temperature**2 * (p * np.log(p / q)).sum(1).mean(), rel=1e-5)
    np.testing.assert_allclose(gradient, temperature * (q - p) / 5, atol=1e-6)


@pytest.mark.slow
def test_equals_pytorch():
    import torch

    logits, teacher_logits = draw()
    given, wanted = (torch.log_softmax(torch.tensor(value) / 2.5, 1) for value in (logits, teacher_logits))
    expected = torch.nn.functional.kl_div(given, wanted, reduction="batchmean", log_target=True) * 2.5**2
    assert loss_and_gradient(2.5, logits, teacher_logits)[0] == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_several_labels_equal_numpy(temperature):
    """Its gradient is T (q - p) / (N K)."""
    logits, teacher_logits = draw()
    logits[0, 0], teacher_logits[0, :2] = 20, (-20, 20)  # far from 0
    q, p = (1 / (1 + np.exp(-value.astype(np.float64) / temperature)) for value in (logits, teacher_logits))
    divergence = p * np.log(p / q) + (1 - p) * (np.log1p(-p) - np.log1p(-q))
    loss, gradient = loss_and_gradient(temperature, logits, teacher_logits, BinaryDistillationLoss)
    assert loss == pytest.approx(temperature**2 * divergence.mean(), rel=1e-5)
    np.testing.assert_allclose(gradient, temperature * (q - p) / 35, atol=1e-6)


@pytest.mark.parametrize(
    "task, kind, teacher_adds", [("single", DistillationLoss, 7), ("multilabel", BinaryDistillationLoss, 0)]
)
def test_who_answers_like_the_teacher_has_learnt_all(task, kind, teacher_adds):
    logits, _ = draw()
    loss, gradient = loss_and_gradient(3.0, logits, logits + teacher_adds, kind)
    assert loss == pytest.approx(0, abs=1e-5)
    np.testing.assert_allclose(gradient, 0, atol=1e-6)
    assert type(build_distillation(task, 3.0)) is kind
    with pytest.raises(ValueError, match="temperature is 0, expected more than 0"):
        kind(0)
