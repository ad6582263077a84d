"""What a report says of a network with a yes or no for each class."""

import math
from collections.abc import Sequence

import numpy as np

from src.report import charts
from src.report.evaluated import Evaluated
from src.report.facts import facts
from src.report.thumbnails import EXAMPLES, Shown, thumbnails
from src.utils.calibration import calibration_error, reliability
from src.utils.multilabel import MultilabelScores, sigmoid
from src.utils.ranking import auroc_interval, counts_from_the_top

MOST_ROWS = 1000  # of the table of classes; all are in per_class_scores.csv
MOST_CURVES = 24  # classes whose curves are drawn
_POINTS = 100  # of a curve
_WORK = 60_000_000  # images x classes x resamples: about 3 s


def contents(evaluated: Evaluated) -> dict[str, object]:
    """What the page says, by the names that its template uses."""
    scores, names, temperature = evaluated.accuracy, evaluated.source.class_names, evaluated.card.temperature
    rows = class_rows(scores, names)
    drawn = [row for row in rows if not math.isnan(row["auroc"])]
    return {
        "headline": headline(scores),
        "rows": rows[:MOST_ROWS],
        "left_out": max(0, len(rows) - MOST_ROWS),
        "curves_of_classes": [curves_of(scores, row) for row in drawn[:MOST_CURVES]],
        "curves_left_out": max(0, len(drawn) - MOST_CURVES),
        **calibration(scores, temperature, evaluated.plain_logits),
        **thumbnails(evaluated, examples(scores, names)),
        **facts(evaluated),
    }


def headline(scores: MultilabelScores) -> dict[str, object]:
    """The AUROC with the 95 % interval of a bootstrap over the images, and what else is said of the whole."""
    ranked = int((~np.isnan(scores.figures()["auroc"])).sum())
    resamples = int(np.clip(_WORK // max(scores.labels.size, 1), 100, 1000))
    low, high = auroc_interval(scores.logits, scores.labels, resamples) if ranked else (math.nan, math.nan)
    return {
        "auroc": scores.auroc, "low": low, "high": high, "resamples": resamples, "ranked": ranked,
        "average_precision": scores.average_precision, "f1": scores.f1, "best_f1": scores.best_f1,
        "loss": scores.loss, "images": scores.seen, "known": int((scores.labels >= 0).sum()),
    }  # fmt: skip


def class_rows(scores: MultilabelScores, names: Sequence[str]) -> list[dict]:
    """A row a class of which something is known, the lowest AUROC first; place: which class it is."""
    rows = []
    for place, row in enumerate(scores.per_class(names)):
        known, probability = _known(scores, place)
        if row["images"]:
            rows.append({**row, "place": place, "error": calibration_error(probability, known)})
    return sorted(rows, key=lambda row: (2 if math.isnan(row["auroc"]) else row["auroc"], row["class"]))


def curves_of(scores: MultilabelScores, row: dict) -> dict[str, str]:
    """The ROC and the precision-recall curve of the class of a row that has positives and negatives."""
    known, probability = _known(scores, row["place"])
    hits, misses, _ = counts_from_the_top(probability, known)
    chosen = np.unique(np.linspace(0, len(hits) - 1, _POINTS).round().astype(int))
    found, false = hits[chosen] / hits[-1], misses[chosen] / misses[-1]
    precision = hits[chosen] / (hits + misses)[chosen]
    roc = np.concatenate([[[0.0, 0.0]], np.stack([false, found], 1)])
    title, says = row["class"], f"AUROC {row['auroc']:.4f}, average precision {row['average_precision']:.4f}"
    svg = charts.ranking_chart(roc, np.stack([found, precision], 1), known.mean(), f"curves {row['place']}")
    return {"svg": svg, "title": title, "says": f"{says}."}


def calibration(
    scores: MultilabelScores, temperature: float, plain_logits: np.ndarray | None = None
) -> dict[str, object]:
    """What the probabilities of all known labels are worth, with the temperature and without."""
    known = scores.labels >= 0
    yes, logits, is_plain = scores.labels[known] == 1, scores.logits[known], temperature == 1
    plain_logits = logits * temperature if plain_logits is None else plain_logits[known]
    probability, plain = sigmoid(logits), sigmoid(plain_logits)
    rows = reliability(probability, yes)
    before = None if is_plain else reliability(plain, yes)
    return {
        "temperature": temperature,
        "error": calibration_error(probability, yes),
        "error_before": math.nan if is_plain else calibration_error(plain, yes),
        "reliability": charts.reliability_chart(rows, before, "probability", "share that is a yes"),
        "reliability_rows": [row for row in rows.tolist() if row[0]],
    }


def examples(scores: MultilabelScores, names: Sequence[str]) -> dict[str, list[Shown]]:
    """Answers to look at, each of one class in one picture: the surest mistakes and the least sure right ones."""
    known = scores.labels >= 0
    sure = np.where(known, np.abs(scores.logits.astype(np.float64)), np.nan)
    right = (scores.logits >= 0) == (scores.labels == 1)
    chosen = {}
    for key, kept, sign in (("mistakes", known & ~right, -1.0), ("unsure", known & right, 1.0)):
        places = np.flatnonzero(kept)
        places = places[np.argsort(sign * sure.ravel()[places], kind="stable")][:EXAMPLES]
        chosen[key] = [_shown(scores, names, *map(int, np.unravel_index(place, known.shape))) for place in places]
    return chosen


def _shown(scores: MultilabelScores, names: Sequence[str], image: int, place: int) -> Shown:
    """A report is of one process: the scores' rows are the data set's pictures in their order."""
    logit, name = float(scores.logits[image, place]), names[place]
    words = {True: name, False: f"no {name}"}
    confidence = float(sigmoid(np.float64(abs(logit))))
    return Shown(image, place, words[logit >= 0], words[bool(scores.labels[image, place] == 1)], confidence)


def _known(scores: MultilabelScores, place: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the images in which it is known whether they show the class: whether they do, and its probability."""
    labels = scores.labels[:, place]
    return labels[labels >= 0] == 1, sigmoid(scores.logits[labels >= 0, place])
