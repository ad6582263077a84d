"""What a report says of a network that gives each picture one class."""

import math
from collections.abc import Sequence

import numpy as np

from src.report import charts, confusions
from src.report.evaluated import Evaluated
from src.report.facts import facts
from src.report.outcomes import Outcomes, examples
from src.report.thumbnails import EXAMPLES, Shown, thumbnails
from src.utils.accuracy import Accuracy
from src.utils.calibration import calibration_error, reliability

MOST_ROWS = 1000  # of the table of classes; all are in per_class_accuracy.csv
MOST_IN_TABLE = 12  # classes of a confusion matrix that is written as numbers
PAIRS = 20


def contents(evaluated: Evaluated) -> dict[str, object]:
    """What the page says, by the names that its template uses."""
    accuracy, outcomes, names = evaluated.accuracy, evaluated.outcomes, evaluated.source.class_names
    shown = {
        kind: [_shown(outcomes, names, place) for place in places]
        for kind, places in zip(("mistakes", "unsure"), examples(outcomes, EXAMPLES), strict=True)
    }
    rows = accuracy.per_class(names)
    return {
        "headline": headline(accuracy, rows),
        "rows": class_rows(rows),
        "left_out": max(0, accuracy.num_classes - MOST_ROWS),
        **confusion(accuracy, names),
        **calibration(outcomes, evaluated.card.temperature),
        **thumbnails(evaluated, shown),
        **facts(evaluated),
    }


def _shown(outcomes: Outcomes, names: Sequence[str], place: int) -> Shown:
    answer = int(outcomes.answers[place])
    return Shown(
        int(outcomes.indices[place]), answer, names[answer], names[outcomes.labels[place]],
        float(outcomes.confidence[place]),
    )  # fmt: skip


def headline(accuracy: Accuracy, rows: Sequence[dict]) -> dict[str, object]:
    """The accuracy with its 95 % interval (Wilson 1927), and beside it what else is said of the whole."""
    from scipy.stats import binomtest

    interval = binomtest(accuracy.top1_correct, accuracy.seen).proportion_ci(0.95, "wilson")
    recalls = [row["recall"] for row in rows if row["images"]]
    return {
        "top1": accuracy.top1, "low": interval.low, "high": interval.high, "correct": accuracy.top1_correct,
        "images": accuracy.seen, "top5": accuracy.top5 if accuracy.num_classes > 10 else math.nan,
        "balanced": float(np.mean(recalls)), "loss": accuracy.loss, "classes": len(recalls),
    }  # fmt: skip


def class_rows(rows: Sequence[dict]) -> list[dict]:
    """A row a class that occurs or was answered, the lowest F1 first; no more than MOST_ROWS."""
    rows = [row for row in rows if row["images"] or not math.isnan(row["precision"])]
    rows.sort(key=lambda row: (-1 if math.isnan(row["f1"]) else row["f1"], row["class"]))
    return rows[:MOST_ROWS]


def confusion(accuracy: Accuracy, names: Sequence[str]) -> dict[str, object]:
    """The matrix: of few classes as numbers, of more as a picture in which those that are confused are neighbours."""
    found = {
        "matrix_names": [], "matrix": [], "matrix_picture": "", "groups": [],
        "pairs": [(names[pair.true], names[pair.answer], pair.images, pair.share)
                  for pair in confusions.worst_pairs(accuracy, PAIRS)],
    }  # fmt: skip
    if accuracy.num_classes > confusions.MOST_CLUSTERED:
        return found
    share = confusions.shares(accuracy)
    if accuracy.num_classes <= MOST_IN_TABLE:
        counts = accuracy.confusion.tolist()
        found["matrix_names"] = list(names)
        found["matrix"] = [
            (name, list(zip(*row, strict=True))) for name, *row in zip(names, counts, share.tolist(), strict=True)
        ]
    else:
        order = confusions.cluster_order(share)
        found["matrix_picture"] = charts.matrix_picture(share[np.ix_(order, order)])
        found["groups"] = [[names[i] for i in group] for group in confusions.groups(share, order)]
    return found


def calibration(outcomes: Outcomes, temperature: float) -> dict[str, object]:
    """How sure the network is beside how right it is, with the temperature and without."""
    right, is_plain = outcomes.right, temperature == 1
    rows = reliability(outcomes.confidence, right)
    before = None if is_plain else reliability(outcomes.plain_confidence, right)
    return {
        "temperature": temperature,
        "error": calibration_error(outcomes.confidence, right),
        "error_before": math.nan if is_plain else calibration_error(outcomes.plain_confidence, right),
        "reliability": charts.reliability_chart(rows, before),
        "reliability_rows": [row for row in rows.tolist() if row[0]],
        "confidences": charts.confidence_chart(outcomes.confidence[right], outcomes.confidence[~right]),
    }
