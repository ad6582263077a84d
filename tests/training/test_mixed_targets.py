"""The loss of mixed images, against NumPy and against PyTorch with timm's mixed targets."""

import numpy as np
import pytest
from toy import CLASSES, FEATURES, SIZE, Linear, make_data, make_step

from src.datasets.mixing import Mix, Mixing
from src.losses.build import build_loss
from src.optimizers.sgd import SGD
from src.training.step import LossScaling, TrainStep
from src.training.update import arguments


def step_of(loss) -> TrainStep:
    network = Linear()
    return TrainStep(network, loss, SGD(network.trainable_params(), momentum=0.0, weight_decay=0.0))


def run(step: TrainStep, images, labels, mix: Mix, is_last: bool = True) -> float:
    loss, *_ = step(*arguments((images, labels, np.arange(len(labels)), mix), 0.5, is_last=is_last))
    return float(loss.asnumpy())


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [(), (0.5, 1.0, 1.5)], ids=["plain", "weighted"])
def test_loss_and_gradient_are_those_of_both_labels(kind, smoothing, weights):
    """lam CE(a) + (1 - lam) CE(b), smoothed and weighted like any other cross entropy."""
    step, (images, labels) = step_of(build_loss("single", smoothing, weights)), make_data(8)
    weight = step.network.fc.weight.asnumpy().astype(np.float64)
    mix = Mixing(float(kind == "mixup"), float(kind == "cutmix"), seed=3).draw(0, 8, 0, 8, SIZE, SIZE)
    loss = run(step, images, labels, mix)

    flat = mix.mixed(images).reshape(8, FEATURES)
    logs, scale, of_class = log_softmax(flat @ weight.T), 0.0, np.array(weights or [1.0] * CLASSES)
    gradient = np.zeros_like(weight)
    for share, given in ((float(mix.share), labels), (1 - float(mix.share), labels[mix.permutation])):
        wanted = (1 - smoothing) * np.eye(CLASSES)[given] + smoothing / CLASSES
        total = of_class[given].sum()
        scale += share * -(of_class * wanted * logs).sum() / total
        pull = of_class * wanted
        gradient += share * ((np.exp(logs) * pull.sum(1, keepdims=True) - pull).T @ flat) / total
    assert loss == pytest.approx(scale, rel=1e-6)
    np.testing.assert_allclose(step.network.fc.weight.asnumpy(), weight - 0.5 * gradient, atol=2e-6)


@pytest.mark.parametrize("share", [0.9, 0.3])
def test_answers_are_counted_against_the_label_of_which_there_is_more(share):
    step, (images, labels) = step_of(build_loss("single", 0.0)), make_data(40)
    permutation = np.arange(40, dtype=np.int32)[::-1].copy()
    mix = Mix(permutation, np.full((SIZE, SIZE), share, np.float32), np.array(share, np.float32))
    weight = step.network.fc.weight.asnumpy().astype(np.float64)
    answers = (mix.mixed(images).reshape(40, FEATURES) @ weight.T).argmax(1)
    *_, right = step(*arguments((images, labels, np.arange(40), mix), 0.5, is_last=True))
    dominant = labels if share > 0.5 else labels[permutation]
    assert float(right.asnumpy()) == pytest.approx((answers == dominant).mean(), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_is_pytorchs_with_timms_targets(smoothing):
    """timm mixes each image with its mirror place in the batch."""
    from scripts.benchmarks.torchvision_beside_cpu import torchvision  # noqa: F401, I001, timm imports it

    import torch
    from timm.data.mixup import mixup_target

    step, (images, labels) = step_of(build_loss("single", smoothing)), make_data(6)
    weight = torch.tensor(step.network.fc.weight.asnumpy())
    share = np.array(0.3, np.float32)
    mix = Mix(np.arange(6, dtype=np.int32)[::-1].copy(), np.full((SIZE, SIZE), share), share)
    pictures = torch.tensor(images)
    logits = (pictures * 0.3 + pictures.flip(0) * 0.7).reshape(6, -1) @ weight.T
    target = mixup_target(torch.tensor(labels).long(), CLASSES, lam=0.3, smoothing=smoothing)
    expected = torch.nn.functional.cross_entropy(logits, target)
    assert run(step, images, labels, mix) == pytest.approx(float(expected), rel=1e-6)


def test_of_several_labels_unknown_ones_are_left_out():
    """Where both are known it is the cross entropy with the mixed target; of one unknown only the other counts."""
    step, (images, _) = step_of(build_loss("multilabel", 0.0)), make_data(2)
    weight = step.network.fc.weight.asnumpy().astype(np.float64)
    labels = np.array([[1, 0, -1], [0, 1, -1]], np.int32)
    share = np.array(0.75, np.float32)
    mix = Mix(np.array([1, 0], np.int32), np.full((SIZE, SIZE), share), share)
    loss = run(step, images, labels, mix)
    logits = mix.mixed(images).reshape(2, FEATURES) @ weight.T
    target = np.array([[0.75, 0.25], [0.25, 0.75]])
    expected = np.log1p(np.exp(logits[:, :2])) - target * logits[:, :2]
    assert loss == pytest.approx(expected.mean(), rel=1e-6)


@pytest.mark.slow
def test_micro_batches_are_mixed_each_by_itself():
    """Two of them with their mixes are one update by the mean gradient, with scaling too."""
    parts = make_step(accumulation_steps=2, scaling=LossScaling("dynamic", 8.0), momentum=0.0)
    images, labels = make_data(8)
    before = parts.network.fc.weight.asnumpy().copy()
    mixing, moved = Mixing(1.0, 1.0, seed=0), []
    for first in (0, 4):
        mix = mixing.draw(0, first, 0, 4, SIZE, SIZE)
        alone = make_step(momentum=0.0)
        run(alone, images[first : first + 4], labels[first : first + 4], mix)
        moved.append(alone.network.fc.weight.asnumpy() - before)
        run(parts, images[first : first + 4], labels[first : first + 4], mix, is_last=first == 4)
    np.testing.assert_allclose(parts.network.fc.weight.asnumpy() - before, np.mean(moved, 0), atol=1e-6)
