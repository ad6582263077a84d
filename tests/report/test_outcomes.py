"""What is collected of each image, and which of them are shown."""

import numpy as np

from src.report.outcomes import SeenOutcomes, examples
from src.utils.calibration import confidences

LOGITS = np.array([[3, 0], [0, 1], [2, 0], [0, 0.5], [9, 0]], np.float32)
LABELS = np.array([0, 1, 1, 0, 0])  # right: 0, 1 and 4


def collected(temperature=1.0):
    outcomes = SeenOutcomes(temperature)
    for part in (slice(0, 3), slice(3, 5)):
        outcomes.add(LOGITS[None, part], LABELS[part], np.arange(10, 15)[part])
    return outcomes.all()


def test_everything_is_kept_in_order():
    outcomes = collected()
    assert outcomes.indices.tolist() == [10, 11, 12, 13, 14]
    assert outcomes.labels.tolist() == LABELS.tolist()
    assert outcomes.answers.tolist() == [0, 1, 0, 1, 0]
    np.testing.assert_array_equal(outcomes.confidence, confidences(LOGITS))
    np.testing.assert_array_equal(outcomes.plain_confidence, outcomes.confidence)


def test_the_confidence_without_the_temperature():
    np.testing.assert_allclose(collected(2.0).plain_confidence, confidences(LOGITS * 2))


def test_the_images_that_say_most():
    wrong, unsure = examples(collected(), 2)
    assert wrong.tolist() == [2, 3]
    assert unsure.tolist() == [1, 0]
    wrong, unsure = examples(collected(), 10)
    assert (len(wrong), len(unsure)) == (2, 3)


def test_two_views_of_an_image_are_averaged_and_so_they_are_without_the_temperature():
    views = np.stack([LOGITS, LOGITS[:, ::-1]])
    views[1, :, 0] += 1.5
    outcomes = SeenOutcomes(2.0)
    outcomes.add(views, LABELS, np.arange(5))
    for found, factor in ((outcomes.all().confidence, 1), (outcomes.all().plain_confidence, 2)):
        powers = np.exp(views * factor)
        mean = (powers / powers.sum(-1, keepdims=True)).mean(0)
        np.testing.assert_allclose(found, mean.max(1), rtol=1e-6)
