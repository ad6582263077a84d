"""The report of a network with a yes or no for each class: its numbers, and every kind of data."""

import re
from dataclasses import replace

import numpy as np
import pytest
from evaluated_pictures import HOSTILE, evaluated
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from src.report.multilabel import contents, curves_of
from src.report.page import write_page
from src.utils.calibration import calibration_error
from src.utils.multilabel import sigmoid

pytestmark = pytest.mark.slow


def page_of(folder, **changes) -> str:
    found = evaluated(folder, changes.pop("classes", 5), changes.pop("images", 60), task="multilabel", **changes)
    write_page(folder / "page.html", found)
    return (folder / "page.html").read_text("utf-8")


def test_its_numbers_are_scikit_learns(tmp_path):
    found = evaluated(tmp_path, 5, 200, task="multilabel")
    labels, logits = found.accuracy.labels, found.accuracy.logits
    said = contents(found)
    aurocs = []
    for row in said["rows"]:
        known = labels[:, row["place"]] >= 0
        truth, scores = labels[known, row["place"]], logits[known, row["place"]]
        aurocs.append(roc_auc_score(truth, scores))
        assert row["auroc"] == pytest.approx(aurocs[-1], abs=1e-12)
        assert row["average_precision"] == pytest.approx(average_precision_score(truth, scores), abs=1e-12)
        assert (row["images"], row["positives"]) == (known.sum(), truth.sum())
    assert aurocs == sorted(aurocs), "the weakest first"
    headline = said["headline"]
    assert headline["auroc"] == pytest.approx(np.mean(aurocs), abs=1e-12)
    assert headline["low"] < headline["auroc"] < headline["high"]
    assert headline["known"] == (labels >= 0).sum()


def test_curves_are_scikit_learns(tmp_path, monkeypatch):
    """All points of few images, as they are drawn."""
    found, drawn = evaluated(tmp_path, 3, 80, task="multilabel"), []
    monkeypatch.setattr("src.report.charts.ranking_chart", lambda *curves: drawn.append(curves) or "<svg></svg>")
    (row,) = (row for row in contents(found)["rows"] if row["place"] == 1)
    drawn.clear()
    said = curves_of(found.accuracy, row)["says"]
    roc, precision_recall, positives, _ = drawn[0]
    known = found.accuracy.labels[:, 1] >= 0
    truth, scores = found.accuracy.labels[known, 1], found.accuracy.logits[known, 1]
    false, true, _ = roc_curve(truth, scores, drop_intermediate=False)
    np.testing.assert_allclose(roc, np.stack([false, true], 1))
    precision, recall, _ = precision_recall_curve(truth, scores)
    np.testing.assert_allclose(precision_recall[::-1], np.stack([recall, precision], 1)[:-1])
    assert positives == pytest.approx(truth.mean())
    assert said == f"AUROC {row['auroc']:.4f}, average precision {row['average_precision']:.4f}."


def test_examples_are_the_surest_mistakes_and_the_least_sure_hits(tmp_path):
    labels = np.array([[1, 0], [0, 1], [1, 1], [-1, 0]], np.int8)
    logits = np.array([[-3, -1], [5, 2], [0.1, -4], [9, 0.2]], np.float32)
    said = contents(evaluated(tmp_path, 2, 4, task="multilabel", labels=labels, logits=logits, names=["ant", "bee"]))
    found = [(one["name"][-5], one["answer"], one["label"]) for one in said["mistakes"]]
    assert found == [("1", "ant", "no ant"), ("2", "no bee", "bee"), ("0", "no ant", "ant"), ("3", "bee", "no bee")]
    assert said["mistakes"][0]["confidence"] == pytest.approx(1 / (1 + np.exp(-5)))
    found = [(one["name"][-5], one["answer"]) for one in said["unsure"]]
    assert found == [("2", "ant"), ("0", "no bee"), ("1", "bee")]


def test_names_are_text(tmp_path):
    text = page_of(tmp_path, names=[HOSTILE, "a & b", '"', "$x_1$", "名前"])
    assert HOSTILE not in text and "&lt;script&gt;" in text and text.count("<script") == 1


@pytest.mark.parametrize("classes", [1, 24, 25, 1200])
def test_any_number_of_classes(tmp_path, classes):
    text = page_of(tmp_path, classes=classes, images=40)
    assert text.count('aria-label="class ') == min(classes, 24)
    assert text.count('<th scope="row">class ') == min(classes, 1000)
    assert len(text) < 2_500_000


@pytest.mark.parametrize("value", [1, 0, -1])
def test_labels_of_one_kind(tmp_path, value):
    """Nothing can be ranked: said so, not drawn."""
    text = page_of(tmp_path, labels=np.full((60, 5), value, np.int8))
    assert '<p class="headline">-</p>' in text
    assert 'id="curves"' not in text and "With 95 % confidence" not in text


def test_before_and_after_calibration(tmp_path):
    text = page_of(tmp_path, temperature=2.0)
    assert re.search(r"before calibration \(temperature 2\.0000\) it was [\d.]+ %", text)
    assert "--calibrate" not in text
    (tmp_path / "plain").mkdir()
    assert "<code>eval.py --calibrate</code> makes it smaller" in page_of(tmp_path / "plain")


def test_all_right(tmp_path):
    labels = np.random.default_rng(0).integers(0, 2, (60, 5)).astype(np.int8)
    text = page_of(tmp_path, labels=labels, logits=(8.0 * labels - 4).astype(np.float32))
    assert "There is none: every answer is right" in text and '<p class="headline">1.0000</p>' in text


def test_the_error_without_the_temperature(tmp_path):
    """Of averages of two views it is of the logits that are averaged without it."""
    found = evaluated(tmp_path, 5, 200, task="multilabel", temperature=2.0)
    known = found.accuracy.labels >= 0
    logits, yes = found.accuracy.logits, found.accuracy.labels[known] == 1
    for plain, given in ((2 * logits, None), (3 * logits, 3 * logits)):
        said = contents(replace(found, plain_logits=given))
        assert said["error_before"] == pytest.approx(calibration_error(sigmoid(plain[known]), yes), abs=1e-9)
        assert said["error"] == calibration_error(sigmoid(logits[known]), yes)
