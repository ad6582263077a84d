"""Figures of several labels an image: scikit-learn's, for ties, unknowns and any sharing among ranks."""

import math

import numpy as np
import pytest
from sklearn import metrics

from src.utils import ranking
from src.utils.errors import ReportedError
from src.utils.multilabel import MultilabelScores
from src.utils.ranking import auroc, auroc_interval, average_precision, best_threshold, f1

RANDOM = np.random.default_rng(0)


def scores_of(logits, labels, ranks=1) -> MultilabelScores:
    """What each of `ranks` has counted after the merge; all of them have the same."""
    parts = [MultilabelScores(logits.shape[1]) for _ in range(ranks)]
    for rank, part in enumerate(parts):
        part.update(logits[rank::ranks], labels[rank::ranks])
    rows = []
    for part in parts:
        part.merge(lambda own: rows.append(own) or own)
    whole = MultilabelScores(logits.shape[1])
    whole.merge(lambda _: np.concatenate(rows))
    return whole


@pytest.mark.parametrize("levels", [0, 2, 5, 100])
@pytest.mark.parametrize("count", [2, 3, 50, 4000])
def test_each_figure_is_scikit_learns(levels, count):
    scores = RANDOM.normal(size=count).astype(np.float32)
    scores = np.round(scores * levels) / levels if levels else scores
    positive = RANDOM.random(count) < 0.3
    positive[:2] = True, False
    assert auroc(scores, positive) == pytest.approx(metrics.roc_auc_score(positive, scores), abs=1e-12)
    expected = metrics.average_precision_score(positive, scores)
    assert average_precision(scores, positive) == pytest.approx(expected, abs=1e-12)
    assert f1(scores >= 0, positive) == pytest.approx(metrics.f1_score(positive, scores >= 0), abs=1e-12)
    cut = best_threshold(scores, positive)
    best = max(metrics.f1_score(positive, scores >= value) for value in np.unique(scores)) if count < 100 else None
    assert best is None or f1(scores >= cut, positive) == pytest.approx(best, abs=1e-12)


def test_means_over_classes_and_unknown_labels():
    logits, labels = RANDOM.normal(size=(500, 6)).astype(np.float32), RANDOM.integers(-1, 2, (500, 6))
    logits += labels
    found = scores_of(logits, labels)
    known = [labels[:, k] >= 0 for k in range(6)]
    for name, function in (
        ("auroc", metrics.roc_auc_score),
        ("average_precision", metrics.average_precision_score),
        ("f1", lambda y, x: metrics.f1_score(y, x >= 0)),
    ):
        each = [function(labels[known[k], k], logits[known[k], k]) for k in range(6)]
        np.testing.assert_allclose(found.figures()[name], each, atol=1e-12, rtol=0)
        assert getattr(found, name) == pytest.approx(np.mean(each), abs=1e-12)
    probability = 1 / (1 + np.exp(-logits.astype(np.float64)))
    assert found.loss == pytest.approx(metrics.log_loss((labels == 1)[labels >= 0], probability[labels >= 0]), abs=1e-9)
    cuts = np.log(found.figures()["threshold"] / (1 - found.figures()["threshold"]))
    fitted = [metrics.f1_score(labels[known[k], k], logits[known[k], k] >= cuts[k]) for k in range(6)]
    assert found.best_f1 == pytest.approx(np.mean(fitted), abs=1e-12) and found.best_f1 > found.f1


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_ranks_change_no_bit(ranks):
    logits, labels = RANDOM.normal(size=(100, 4)).astype(np.float32), RANDOM.integers(-1, 2, (100, 4))
    one, several = scores_of(logits, labels), scores_of(logits, labels, ranks)
    assert (one.metrics(), one.lines(), one.seen) == (several.metrics(), several.lines(), several.seen)


def test_classes_without_positives_or_negatives_are_left_out():
    logits = np.array([[1, 1, 1], [2, 2, 2], [-1, -1, -1]], np.float32)
    labels = np.array([[1, 1, 0], [1, 1, 0], [0, 1, 0]])
    found = scores_of(logits, labels)
    assert found.figures()["auroc"].tolist()[0] == 1.0 and np.isnan(found.figures()["auroc"][1:]).all()
    assert found.auroc == 1.0 and found.average_precision == 1.0
    assert found.f1 == pytest.approx((1 + 0.8) / 2)
    nothing = scores_of(logits, np.full((3, 3), -1))
    assert math.isnan(nothing.auroc) and math.isnan(nothing.loss)


def test_the_line():
    logits = np.array([[3.0], [-1.0], [1.0], [-2.0]], np.float32)
    found = scores_of(logits, np.array([[1], [1], [0], [0]]))
    assert found.lines() == ["after allreduce eval: auroc=0.7500, ap=0.8333, f1=0.5000, tot=4"]
    assert found.per_class(["x"])[0] == {
        "class": "x", "images": 4, "positives": 2, "auroc": 0.75, "average_precision": pytest.approx(5 / 6), "f1": 0.5,
        "threshold": pytest.approx(1 / (1 + math.exp(1.5))), "best_f1": pytest.approx(0.8),
    }  # fmt: skip


def test_what_is_no_answer_is_refused():
    found = MultilabelScores(2)
    with pytest.raises(ReportedError, match="not finite"):
        found.update(np.array([[np.nan, 0]], np.float32), np.zeros((1, 2), int))
    with pytest.raises(ReportedError, match="neither 1, 0 nor -1"):
        found.update(np.zeros((1, 2), np.float32), np.full((1, 2), 2))


@pytest.mark.slow
def test_the_interval_is_that_of_resampled_pictures(monkeypatch):
    """Of scikit-learn's AUROC of pictures drawn with replacement, ties and unknowns included."""
    random = np.random.default_rng(5)
    labels = random.integers(0, 2, (120, 3)).astype(np.int8)
    scores = np.round(labels * [0.5, 1, 2] + random.normal(size=labels.shape), 1)
    labels[random.random(labels.shape) < 0.1] = -1
    draws, means = np.random.default_rng(1), []
    for _ in range(300):
        chosen = draws.integers(0, 120, 120)
        known = [chosen[labels[chosen, k] >= 0] for k in range(3)]
        means.append(np.mean([metrics.roc_auc_score(labels[rows, k], scores[rows, k]) for k, rows in enumerate(known)]))
    found = auroc_interval(scores, labels, 300, seed=1)
    assert found == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))
    for at_once in (1, 1000):
        monkeypatch.setattr(ranking, "_AT_ONCE", at_once)
        assert auroc_interval(scores, labels, 300, seed=1) == found


@pytest.mark.parametrize("label", [0, 1, -1])
def test_there_is_no_interval_where_nothing_is_ranked(label):
    assert np.isnan(auroc_interval(np.zeros((5, 2)), np.full((5, 2), label), 20)).all()


def test_what_was_counted_is_joined_once():
    """A report asks for all scores hundreds of times."""
    scores = MultilabelScores(2)
    for _ in range(3):
        scores.update(np.ones((4, 2), np.float32), np.ones((4, 2), np.int8))
    assert scores.logits is scores.logits and scores.labels is scores.labels
    scores.update(np.zeros((1, 2), np.float32), np.zeros((1, 2), np.int8))
    assert scores.logits.shape == scores.labels.shape == (13, 2) and scores.seen == 13
    assert MultilabelScores(2).logits.shape == (0, 2)
