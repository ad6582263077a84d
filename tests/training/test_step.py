"""One training step: accumulation, clipping and loss scaling against the numbers they must give."""

from functools import partial

import mindspore as ms
import numpy as np
import pytest
import toy
from mindspore import Tensor
from toy import FEATURES, make_data, values

from src.ops import build
from src.training import step as step_module
from src.training.step import LossScaling, resolve_loss_scaling

RATE = 0.5


@pytest.fixture(params=[False, True], ids=["mindspore", "kernels"])
def make_step(request):
    """toy.make_step with MindSpore's operators and with our own for the update, which changes weights in place."""
    library = build.kernels().library
    assert library, build.kernels().reason
    return partial(toy.make_step, kernels=str(library) if request.param else None, loaded=False)


def train(step, images, labels, is_last: bool = True) -> tuple[float, bool]:
    loss, finite, _ = step(Tensor(images), Tensor(labels), Tensor(RATE, ms.float32), Tensor(is_last, ms.bool_))
    return float(loss.asnumpy()), bool(finite.asnumpy())


# A step of one micro-batch has twelve images, of three four each: each graph is compiled once.
WHOLE, PART, PARTS = 12, 4, 3


@pytest.mark.parametrize("accumulation_steps", [1, PARTS])
def test_the_share_that_is_answered_right(make_step, accumulation_steps):
    """Before the update, of the images as they are trained on."""
    step = make_step(accumulation_steps=accumulation_steps)
    count = WHOLE // accumulation_steps
    images, labels = toy.make_data(count)
    weight = toy.values(step)["fc.weight"].astype(np.float64)
    answers = (images.reshape(count, FEATURES) @ weight.T).argmax(1)
    *_, right = step(Tensor(images), Tensor(labels), Tensor(RATE, ms.float32), Tensor(True, ms.bool_))
    assert float(right.asnumpy()) == pytest.approx((answers == labels).mean(), abs=1e-6)


def by_hand(images, labels, weight, bias) -> tuple[float, np.ndarray, np.ndarray]:
    """Loss and gradients of the softmax regression, in float64."""
    flat = images.reshape(len(images), FEATURES).astype(np.float64)
    logits = flat @ weight.T + bias
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    loss = -np.log(probabilities[np.arange(len(labels)), labels]).mean()
    error = probabilities - np.eye(weight.shape[0])[labels]
    return loss, error.T @ flat / len(labels), error.mean(0)


def assert_close(left: dict, right: dict, rtol: float = 1e-5) -> None:
    for name, value in right.items():
        np.testing.assert_allclose(left[name], value, rtol=rtol, atol=1e-6, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("max_norm", [0.0, 0.1, 1e3])
def test_loss_and_update_equal_numpy(make_step, max_norm):
    """With clipping: the gradient is scaled to norm 0.1, and left alone when it is shorter than max_norm."""
    step, (images, labels) = make_step(**({"max_norm": max_norm} if max_norm else {})), make_data(WHOLE)
    before = values(step)
    loss, weight_gradient, bias_gradient = by_hand(images, labels, before["fc.weight"], before["fc.bias"])
    norm = np.sqrt((weight_gradient**2).sum() + (bias_gradient**2).sum())
    assert 0.1 < norm < 1e3
    factor = min(1.0, max_norm / norm) if max_norm else 1.0
    assert train(step, images, labels) == (pytest.approx(loss, rel=1e-5), True)
    decayed = before["fc.weight"] * (1 - RATE * 1e-4)
    after = {"fc.weight": decayed - RATE * factor * weight_gradient, "fc.bias": -RATE * factor * bias_gradient}
    assert_close(values(step), after)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{}, {"scaling": LossScaling("dynamic", 1024.0)}, {"max_norm": 0.1},
     {"scaling": LossScaling("dynamic", 1024.0), "max_norm": 0.1}],
    ids=["plain", "scaled", "clipped", "both"],
)  # fmt: skip
def test_k_micro_batches_of_b_are_one_batch_of_k_times_b(make_step, options):
    whole = make_step(**options)
    parts = make_step(**options, accumulation_steps=PARTS)
    for seed in (0, 1):
        images, labels = make_data(WHOLE, seed)
        loss, _ = train(whole, images, labels)
        losses = [train(parts, images[i : i + 4], labels[i : i + 4], is_last=i == 8)[0] for i in (0, 4, 8)]
        assert np.mean(losses) == pytest.approx(loss, rel=1e-5)
        assert_close(values(parts), values(whole))


def test_nothing_moves_before_the_last_micro_batch(make_step):
    step, (images, labels) = make_step(accumulation_steps=PARTS), make_data(PART)
    before = values(step)
    for _ in range(PARTS - 1):
        train(step, images, labels, is_last=False)
        assert_close(values(step), before, rtol=0)
    train(step, images, labels)
    assert not np.array_equal(values(step)["fc.weight"], before["fc.weight"])
    assert not any(name.startswith("gradient_sums") for name in before)
    assert all(not p.asnumpy().any() for p in step.get_parameters() if p.name.startswith("gradient_sums"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["fixed", "dynamic"])
def test_scaling_by_a_power_of_two_changes_no_bit_of_the_updates(make_step, kind):
    plain, scaled = make_step(), make_step(scaling=LossScaling(kind, 1024.0))
    for seed in range(5):
        images, labels = make_data(WHOLE, seed)
        assert train(plain, images, labels) == train(scaled, images, labels)
    for name, value in values(plain).items():
        assert value.tobytes() == values(scaled)[name].tobytes(), name
    assert values(scaled)["skipped_steps"] == 0
    assert values(scaled)["loss_scale"] == 1024


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "scale_after"), [("fixed", 1024.0), ("dynamic", 512.0)])
def test_an_overflow_skips_the_update_and_is_counted(make_step, kind, scale_after):
    step, (images, labels) = make_step(scaling=LossScaling(kind, 1024.0)), make_data(WHOLE)
    train(step, images, labels)
    before = values(step)
    overflowing = images.copy()
    overflowing[0, 0, 0, 0] = np.inf
    assert not train(step, overflowing, labels)[1]
    after = values(step)
    assert after.pop("skipped_steps") == 1
    assert after.pop("loss_scale") == scale_after
    assert after.pop("good_steps") == 0
    assert all(value.tobytes() == before[name].tobytes() for name, value in after.items())
    assert train(step, images, labels)[1]
    assert values(step)["skipped_steps"] == 1


def test_an_overflow_in_an_early_micro_batch_skips_the_whole_update_and_is_forgotten(make_step):
    scaling = LossScaling("dynamic", 1024.0)
    step, (images, labels) = make_step(scaling=scaling, accumulation_steps=PARTS), make_data(PART)
    before = values(step)["fc.weight"]
    train(step, images * np.float32(np.nan), labels, is_last=False)
    train(step, images, labels, is_last=False)
    assert not train(step, images, labels)[1]
    assert np.array_equal(values(step)["fc.weight"], before)
    for _ in range(PARTS - 1):
        train(step, images, labels, is_last=False)
    assert train(step, images, labels)[1]
    assert np.isfinite(values(step)["fc.weight"]).all()


@pytest.mark.slow
def test_the_scale_doubles_after_a_window_of_good_steps(make_step, monkeypatch):
    monkeypatch.setattr(step_module, "SCALE_WINDOW", 3)
    step, (images, labels) = make_step(scaling=LossScaling("dynamic", 8.0)), make_data(PART)
    scales = []
    for overflow in (False, False, True, False, False, False, False, False, False, False):
        train(step, images * np.float32(np.inf if overflow else 1), labels)
        scales.append((float(values(step)["loss_scale"]), int(values(step)["good_steps"])))
    assert scales == [(8, 1), (8, 2), (4, 0), (4, 1), (4, 2), (8, 0), (8, 1), (8, 2), (16, 0), (16, 1)]


def test_the_scale_never_falls_below_one(make_step):
    step, (images, labels) = make_step(scaling=LossScaling("dynamic", 1024.0)), make_data(WHOLE)
    for _ in range(12):
        train(step, images * np.float32(np.inf), labels)
    assert values(step)["loss_scale"] == 1
    assert values(step)["skipped_steps"] == 12


def test_without_scaling_a_loss_that_is_not_finite_is_handed_out(make_step):
    step, (images, labels) = make_step(), make_data(WHOLE)
    loss, finite = train(step, images * np.float32(np.nan), labels)
    assert np.isnan(loss)
    assert finite


@pytest.mark.parametrize(
    ("kind", "level", "resolved"),
    [("auto", "O0", "none"), ("auto", "O2", "dynamic"), ("auto", "O3", "dynamic"), ("fixed", "O0", "fixed")],
)
def test_auto_scaling_depends_on_the_level(kind, level, resolved):
    assert resolve_loss_scaling(kind, 64.0, level) == LossScaling(resolved, 64.0)
