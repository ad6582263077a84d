"""Calibration: its error against a plain loop, its temperature on an overconfident classifier of real digits."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from src.utils.accuracy import cross_entropy
from src.utils.calibration import calibration_error, confidences, fit_temperature, is_temperature, reliability
from src.utils.errors import ReportedError


@pytest.fixture(scope="module")
def overconfident():
    """Logits and labels of images that a classifier without regularisation was not trained on."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    train, rest = order[:300], order[300:]
    model = LogisticRegression(C=1e6, max_iter=300).fit(images[train] / 16, labels[train])
    return model.decision_function(images[rest] / 16).astype(np.float32), labels[rest]


def test_one_half_calibrates_the_other(overconfident):
    logits, labels = overconfident
    mine, other = slice(None, None, 2), slice(1, None, 2)
    temperature = fit_temperature(logits[mine], labels[mine])
    right = logits[other].argmax(1) == labels[other]
    before = calibration_error(confidences(logits[other]), right)
    after = calibration_error(confidences(logits[other] / temperature), right)
    assert temperature > 2
    assert after < before / 2
    assert np.array_equal((logits / temperature).argmax(1), logits.argmax(1))


def test_no_other_temperature_has_a_smaller_loss(overconfident):
    logits, labels = overconfident
    temperature = fit_temperature(logits, labels)
    losses = [cross_entropy(logits / (temperature * f), labels).mean() for f in (0.99, 1, 1.01)]
    assert losses[1] == min(losses)
    assert fit_temperature(logits * 3, labels) == pytest.approx(3 * temperature, rel=1e-4)
    assert fit_temperature(logits / temperature, labels) == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("right", ["all", "none"])
def test_images_that_say_nothing_of_a_temperature(right):
    labels = np.arange(10) % 3
    answered = labels if right == "all" else (labels + 1) % 3
    with pytest.raises(ReportedError, match=f"fits 10 images, of which {10 if right == 'all' else 0} are answered"):
        fit_temperature(np.eye(3, dtype=np.float32)[answered], labels)


def test_one_class_says_nothing_of_a_temperature():
    logits = np.random.default_rng(0).normal(size=(20, 1)).astype(np.float32)
    with pytest.raises(ReportedError, match="fits 20 images, of which 20 are answered right"):
        fit_temperature(logits, np.zeros(20, np.int32))


def test_the_error_is_that_of_a_loop_over_the_bins(overconfident):
    logits, labels = overconfident
    confidence, right = confidences(logits), logits.argmax(1) == labels
    probabilities = np.exp(logits.astype(np.float64))
    np.testing.assert_allclose(confidence, (probabilities / probabilities.sum(1, keepdims=True)).max(1), rtol=1e-9)
    for bins in (5, 15):
        expected, rows = 0.0, reliability(confidence, right, bins)
        for i in range(bins):
            inside = (confidence > i / bins) & (confidence <= (i + 1) / bins)
            assert rows[i, 0] == inside.sum()
            if inside.any():
                assert rows[i, 1:] == pytest.approx([right[inside].mean(), confidence[inside].mean()])
                expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
            else:
                assert np.isnan(rows[i, 1:]).all()
        assert calibration_error(confidence, right, bins) == pytest.approx(expected)


@pytest.mark.filterwarnings("error")
def test_the_ends_belong_to_a_bin():
    assert reliability(np.array([0.0, 1.0]), np.array([False, True]))[[0, -1], 0].tolist() == [1, 1]
    assert calibration_error(np.array([1.0, 1.0]), np.array([True, True])) == 0
    assert np.isnan(calibration_error(np.zeros(0), np.zeros(0, bool)))
    assert calibration_error(np.array([1.0, 1.0]), np.array([True, False])) == 0.5


@pytest.mark.parametrize("value", [1.5, 2])
def test_a_temperature_from_a_file(value):
    assert is_temperature(value)


@pytest.mark.parametrize("value", [0, -1.0, True, "2", float("nan"), float("inf"), None, 1e-9])
def test_what_is_none(value):
    assert not is_temperature(value)


def test_one_temperature_for_several_labels():
    """Labels drawn from known probabilities, of logits three times too large; unknown ones say nothing."""
    random = np.random.default_rng(0)
    logits = random.normal(scale=2, size=(4000, 5))
    labels = (random.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.int8)
    labels[random.random(labels.shape) < 0.3] = -1
    assert fit_temperature(3 * logits, labels) == pytest.approx(3, rel=0.03)
    assert fit_temperature(3 * logits, np.abs(labels)) > 4, "as it is not when unknown counts as yes"
