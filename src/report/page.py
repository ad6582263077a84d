"""The report of an evaluation: one HTML file that needs nothing besides itself, neither a network nor other files."""

import math
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from src.datasets.classification import evaluation_batches
from src.datasets.preprocessing import Preprocessing
from src.datasets.preview import shown_pixels
from src.datasets.source import Source
from src.network.grad_cam import GradCam
from src.report import charts, confusions
from src.report.outcomes import Outcomes, examples
from src.training.evaluation import padded
from src.training.model_card import ModelCard
from src.utils.accuracy import Accuracy
from src.utils.calibration import calibration_error, reliability
from src.utils.checkpoint import RUN_CONFIG, Checkpoint
from src.utils.data_url import data_url
from src.utils.files import sha256_of, write_new_text
from src.utils.heat import overlay
from src.utils.processor import processor_name

EXAMPLES = 12  # of each kind
MOST_ROWS = 1000  # of the table of classes; all are in per_class_accuracy.csv
MOST_IN_TABLE = 12  # classes of a confusion matrix that is written as numbers
PAIRS = 20
_THUMBNAIL = 112  # pixels


@dataclass(frozen=True)
class Evaluated:
    """What was evaluated, and what came of it. network: of the checkpoint. batch_size: what it was compiled for."""

    checkpoint: Checkpoint
    card: ModelCard
    source: Source
    accuracy: Accuracy
    outcomes: Outcomes
    network: GradCam
    batch_size: int
    workers: int


def write_page(path: Path, evaluated: Evaluated) -> None:
    """Write the report to `path`. Raises ReportedError when the disk refuses or something appeared there meanwhile."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # for this alone

    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": percent, "number": lambda value: f"{value:,}"}
    write_new_text(path, environment.get_template("page.html").render(contents(evaluated)))


def percent(value: float, digits: int = 2) -> str:
    """`12.34 %`, and a dash for nan."""
    return "-" if math.isnan(value) else f"{100 * value:.{digits}f} %"


def contents(evaluated: Evaluated) -> dict[str, object]:
    """What the page says, by the names that its template uses."""
    accuracy, outcomes, names = evaluated.accuracy, evaluated.outcomes, evaluated.source.class_names
    wrong, unsure = examples(outcomes, EXAMPLES)
    rows = accuracy.per_class(names)
    return {
        "headline": headline(accuracy, rows),
        "rows": class_rows(rows),
        "left_out": max(0, accuracy.num_classes - MOST_ROWS),
        **confusion(accuracy, names),
        **calibration(outcomes, evaluated.card.temperature),
        "mistakes": thumbnails(evaluated, wrong),
        "unsure": thumbnails(evaluated, unsure),
        "curves": training_curves(evaluated.checkpoint),
        "card": model_card(evaluated),
        "settings": settings(evaluated.checkpoint),
    }


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


def thumbnails(evaluated: Evaluated, places: np.ndarray) -> list[dict]:
    """The images at `places` in the outcomes as small pictures, with the heat of what the network answered."""
    outcomes, names, found = evaluated.outcomes, evaluated.source.class_names, []
    if not len(places):
        return found
    chosen = outcomes.indices[places]
    subset = evaluated.source.subset(chosen)
    batch_size, preprocessing = evaluated.batch_size, evaluated.card.preprocessing
    for images, _, indices in evaluation_batches(
        subset, preprocessing, batch_size=batch_size, workers=evaluated.workers
    ):
        _, heat = evaluated.network(padded(images, batch_size))
        for image, one, i in zip(images, heat, indices, strict=False):
            place = places[i]
            found.append({
                "name": subset.image_name(i), "label": names[outcomes.labels[place]],
                "answer": names[outcomes.answers[place]], "confidence": float(outcomes.confidence[place]),
                **_pictures(image, one, preprocessing),
            })  # fmt: skip
    return found


def _pictures(image: np.ndarray, heat: np.ndarray, preprocessing: Preprocessing) -> dict[str, str]:
    pixels = shown_pixels(image, preprocessing)
    if pixels.shape[2] == 1:
        pixels = pixels.repeat(3, 2)
    resampling = Image.Resampling.NEAREST if len(pixels) < _THUMBNAIL else Image.Resampling.LANCZOS
    small = [
        Image.fromarray((values * 255).round().astype(np.uint8)).resize((_THUMBNAIL, _THUMBNAIL), resampling)
        for values in (pixels, overlay(pixels, heat))
    ]
    return {"picture": data_url(small[0], "JPEG"), "heat": data_url(small[1], "JPEG")}


def training_curves(checkpoint: Checkpoint) -> list[dict]:
    """The loss and the accuracy over the epochs that the checkpoint tells of."""
    history, found = _history(checkpoint), []
    for key, title, label in (("loss", "Loss", "loss"), ("top1", "Held-out accuracy", "top-1")):
        values = [row[key] for row in history if row[key] is not None]
        if len(values) > 1:
            says = f"From {values[0]:.4f} to {values[-1]:.4f} in {history[-1]['epoch']} epochs."
            found.append({"title": title, "svg": charts.curves(history, key, label), "says": says})
    return found


def _history(checkpoint: Checkpoint) -> list[dict[str, float | None]]:
    """The rows of a run, of whose file nobody vouches: numbers, and None for all else."""
    progress = checkpoint.metadata.get("progress")
    rows = progress.get("history") if isinstance(progress, Mapping) else None
    found = []
    for row in rows if isinstance(rows, list) else ():
        values = row if isinstance(row, Mapping) else {}
        numbers = {key: _finite(values.get(key)) for key in ("epoch", "loss", "eval_loss", "top1")}
        if numbers["epoch"] is not None:
            found.append(numbers | {"epoch": int(numbers["epoch"])})
    return found


def _finite(value: object) -> float | None:
    return float(value) if type(value) in (int, float) and math.isfinite(value) else None


def model_card(evaluated: Evaluated) -> list[tuple[str, str]]:
    """What the network is, what it was evaluated on, and where: names and values."""
    card, checkpoint = evaluated.card, evaluated.checkpoint
    arch, preprocessing = card.architecture, card.preprocessing
    versions = checkpoint.metadata.get("versions")
    versions = versions if isinstance(versions, Mapping) else {}
    data = checkpoint.metadata.get("data")
    trained = data.get("train") if isinstance(data, Mapping) else None
    trained_on = trained.get("images") if isinstance(trained, Mapping) else None
    rows = [
        ("Network", f"{arch.net}, growth rate {arch.growth_rate}, layers {', '.join(map(str, arch.block_config))}"),
        ("Parameters", f"{arch.num_parameters:,}"),
        ("Classes", f"{arch.num_classes:,}"),
        ("Input", f"{preprocessing.image_size} x {preprocessing.image_size} pixels"),
        ("Mean and deviation", f"{_numbers(preprocessing.mean)}; {_numbers(preprocessing.std)}"),
        ("Temperature", f"{card.temperature:.4f}" if card.temperature != 1 else "none fitted"),
        ("Trained on", f"{trained_on:,} images" if type(trained_on) is int else "not known"),
        ("Evaluated on", f"{len(evaluated.source):,} images of {evaluated.source.origin}"),
        ("Hash of these data", str(evaluated.source.fingerprint()["sha256"])),
        ("Checkpoint", str(checkpoint.path)),
        ("Its SHA-256", _sha256(checkpoint.path)),
        ("Trained with", ", ".join(f"{name} {version}" for name, version in versions.items()) or "not known"),
        ("Evaluated on the machine", f"{processor_name()}, {len(os.sched_getaffinity(0))} cores, {platform.system()}"),
        ("Report written", time.strftime("%Y-%m-%d %H:%M:%S %z")),
    ]
    return [(name, value[:500]) for name, value in rows]


def settings(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    """The keys of the run's configuration and their values, as the checkpoint has them."""
    values = checkpoint.metadata.get(RUN_CONFIG)
    rows = values.items() if isinstance(values, Mapping) else ()
    return [(str(key)[:100], ", ".join(map(str, value)) if isinstance(value, list) else str(value)[:300])
            for key, value in rows]  # fmt: skip


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError:  # a run that trains has removed it
        return "not known: the file is gone"
