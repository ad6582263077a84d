"""Answers of a picture and its mirror image: the mean of their probabilities."""

import re

import numpy as np
import pytest
import toy

from src.datasets.preprocessing import default_preprocessing
from src.network.architecture import architecture
from src.training.calibrated import CALIBRATED_NAME, SeenLogits, write_calibrated
from src.training.mirrored import Answering, joined, mean_answer, mirrored
from src.training.model_card import ModelCard
from src.utils.calibration import fit_temperature, mean_loss
from src.utils.checkpoint import Checkpoint, load_checkpoint
from src.utils.checkpoint_arrays import Arrays


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


LOGITS = np.random.default_rng(0).normal(scale=3, size=(2, 50, 7)).astype(np.float32)


@pytest.mark.parametrize(("task", "probabilities"), [("single", softmax), ("multilabel", sigmoid)])
def test_the_probabilities_are_the_mean_of_both(task, probabilities):
    found = mean_answer(*LOGITS, task)
    assert found.dtype == np.float32
    expected = probabilities(LOGITS.astype(np.float64)).mean(0)
    np.testing.assert_allclose(probabilities(found.astype(np.float64)), expected, atol=1e-6)
    np.testing.assert_allclose(
        probabilities(mean_answer(LOGITS[0], LOGITS[0], task)), probabilities(LOGITS[0]), atol=1e-6
    )


@pytest.mark.parametrize("task", ["single", "multilabel"])
def test_answers_that_are_very_sure_stay_finite(task):
    sure = np.array([[2e4, -2e4, 0]], np.float32)
    for one, other in ((sure, sure), (sure, -sure)):
        assert np.isfinite(mean_answer(one, other, task)).all()
    assert mean_answer(sure, sure, task).argmax() == 0


def test_a_picture_and_its_mirror_image_get_one_answer():
    weights = np.random.default_rng(1).normal(size=(3 * 4 * 4, 5)).astype(np.float32)
    model = Answering(lambda images: images.reshape(len(images), -1) @ weights, mirrors=True)
    images = np.random.default_rng(2).normal(size=(6, 3, 4, 4)).astype(np.float32)
    np.testing.assert_array_equal(mirrored(images)[2, 1, 3], images[2, 1, 3, ::-1])
    np.testing.assert_allclose(model(images), model(mirrored(images)), rtol=1e-6)


@pytest.mark.parametrize("mirrors", [False, True])
def test_the_views_that_an_answer_was_made_of(mirrors):
    answering = Answering(lambda images: images[:, 0, 0, :3], mirrors=mirrors)
    images = np.random.default_rng(2).normal(size=(6, 3, 4, 4)).astype(np.float32)
    logits = answering(images)
    views = answering.views(5)
    assert views.shape == (1 + mirrors, 5, 3)
    np.testing.assert_array_equal(joined(views), logits[:5])
    np.testing.assert_array_equal(views[-1], images[:5, 0, 0, ::-1][:, :3] if mirrors else logits[:5])


@pytest.mark.parametrize("task", ["single", "multilabel"])
def test_a_temperature_is_fitted_to_what_is_answered(task):
    """Both views are divided by it before their probabilities are averaged, as in an evaluation that has it."""
    random = np.random.default_rng(3)
    views = random.normal(scale=4, size=(2, 400, 5)).astype(np.float32)
    labels = random.integers(0, 5, 400) if task == "single" else random.integers(-1, 2, (400, 5))
    if task == "single":
        views[:, np.arange(400), labels] += 4
    else:
        views += 4 * labels.astype(np.float32)

    def loss(temperature: float) -> float:
        return mean_loss(joined(views.astype(np.float64) / temperature, task), labels)

    found = fit_temperature(views, labels, lambda logits: joined(logits, task))
    assert loss(found) < min(loss(found * 0.99), loss(found * 1.01), loss(1.0))
    assert abs(found / fit_temperature(joined(views, task), labels) - 1) > 0.05, "not that of the means' logits"


def test_a_checkpoint_calibrated_with_mirror_images_says_what_it_is_for(tmp_path):
    random = np.random.default_rng(4)
    views, labels = random.normal(scale=3, size=(2, 90, 3)).astype(np.float32), random.integers(0, 3, 90)
    views[:, np.arange(90), labels] += 2
    seen = SeenLogits()
    for part in (slice(0, 50), slice(50, 90)):
        seen.add(views[:, part], labels[part], np.arange(90)[part])
    card = ModelCard(architecture("densenet100", 3), default_preprocessing("cifar10"), ("a", "b", "c"), 2.0)
    checkpoint = Checkpoint(tmp_path / "a.ckpt", Arrays(tmp_path / "a.ckpt", None, {}), {})
    said = write_calibrated(checkpoint, toy.Linear(), card, seen, tmp_path)
    before, after = (float(number) for number in re.search(r"loss ([\d.]+) -> ([\d.]+),", said).groups())
    factor = load_checkpoint(tmp_path / CALIBRATED_NAME).metadata["temperature"] / 2
    assert f"{mean_loss(joined(views), labels):.4f}" == f"{before:.4f}"
    assert f"{mean_loss(joined(views / factor), labels):.4f}" == f"{after:.4f}" and after < before
    assert ", with other probabilities, for evaluations with --tta: " in said
