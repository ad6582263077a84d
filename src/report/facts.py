"""What a report tells of the network besides how good it is: its training, its data, its files."""

import math
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from src.report import charts
from src.report.evaluated import Evaluated
from src.utils.checkpoint import RUN_CONFIG, Checkpoint
from src.utils.files import sha256_of
from src.utils.processor import processor_name


def facts(evaluated: Evaluated) -> dict[str, object]:
    """By the names that the page's template uses."""
    return {
        "curves": training_curves(evaluated.checkpoint),
        "card": model_card(evaluated),
        "settings": settings(evaluated.checkpoint),
    }


def training_curves(checkpoint: Checkpoint) -> list[dict]:
    """The loss and the held-out figure over the epochs that the checkpoint tells of."""
    history, found = _history(checkpoint), []
    for key, title, label in (
        ("loss", "Loss", "loss"), ("top1", "Held-out accuracy", "top-1"), ("auroc", "Held-out AUROC", "AUROC"),
    ):  # fmt: skip
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
        numbers = {key: _finite(values.get(key)) for key in ("epoch", "loss", "eval_loss", "top1", "auroc")}
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
        ("Classes", f"{arch.num_classes:,}" + (", any number of them a picture" if card.task == "multilabel" else "")),
        ("Input", f"{preprocessing.image_size} x {preprocessing.image_size} pixels"),
        ("Mean and deviation", f"{_numbers(preprocessing.mean)}; {_numbers(preprocessing.std)}"),
        ("Temperature", f"{card.temperature:.4f}" if card.temperature != 1 else "none fitted"),
        (
            "Asked for",
            "each image and its mirror image; the probabilities are the mean of both, heat maps the image's"
            if evaluated.mirrors
            else "each image once",
        ),
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
