"""Evaluations to write reports of, without a network."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from src.datasets.preprocessing import default_preprocessing
from src.datasets.preprocessing_choices import DECODED
from src.datasets.source import Source
from src.network.architecture import architecture
from src.report.evaluated import Evaluated
from src.report.outcomes import SeenOutcomes
from src.training.evaluation import counter_of
from src.training.model_card import ModelCard
from src.utils.checkpoint import Checkpoint
from src.utils.checkpoint_arrays import Arrays

SIZE = 8
HOSTILE = '<script>alert("1")</script>'


def evaluated(folder: Path, classes: int, images: int, **changes) -> Evaluated:
    """An evaluation of random pictures by a stand-in for a network, which answers at random."""
    random = np.random.default_rng(0)
    names = tuple(changes.pop("names", [f"class {i}" for i in range(classes)]))
    pictures = random.integers(0, 255, (images, SIZE, SIZE, 3), np.uint8)
    task = changes.pop("task", "single")
    if task == "single":
        labels = np.arange(images, dtype=np.int32) % max(1, classes - changes.pop("empty", 0))
    else:
        labels = changes.pop("labels", random.integers(-1, 2, (images, classes)).astype(np.int8))
    source = Source(
        "folder", names, labels, DECODED, lambda i: pictures[i], lambda i: f"{HOSTILE}{i}.png", origin=HOSTILE
    )
    logits = changes.pop("logits", random.standard_normal((images, classes), np.float32))
    accuracy, outcomes = counter_of(task, classes), SeenOutcomes()
    accuracy.update(logits, labels)
    if task == "single":
        outcomes.add(logits[None], labels, np.arange(images))
    path = folder / "some.ckpt"
    path.write_bytes(b"weights")
    card = ModelCard(
        architecture("densenet100", classes), replace(default_preprocessing("digits"), image_size=SIZE), names,
        temperature=changes.pop("temperature", 1.0), task=task,
    )  # fmt: skip
    metadata = {"recipe": {"lr": 0.1, HOSTILE: [HOSTILE]}, "progress": {"history": changes.pop("history", [])}}

    def network(batch, chosen):
        assert len(chosen) == len(batch)
        return np.zeros((len(batch), classes)), random.random((len(batch), 2, 2), np.float32)

    checkpoint = Checkpoint(path, Arrays(path, None, {}), metadata)
    outcomes = outcomes.all() if task == "single" else None
    return Evaluated(checkpoint, card, source, accuracy, outcomes, network, 16, 1)
