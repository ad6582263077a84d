"""An evaluation and what it leaves for its reader: per-class accuracy, confusion matrix, predictions."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from src.datasets.classification import evaluation_batches
from src.datasets.preprocessing import Preprocessing
from src.datasets.source import Source
from src.model_utils.group import ALONE, Group
from src.training.evaluation import Counter, Logits, evaluate
from src.training.mirrored import Watcher
from src.utils.accuracy import Accuracy
from src.utils.best_classes import best_classes
from src.utils.csv_text import csv_text
from src.utils.errors import UsageError
from src.utils.files import make_folder, require_new, write_new_text, write_text_atomically
from src.utils.logging import get_logger
from src.utils.multilabel import MultilabelScores
from src.utils.plotting import words, write_picture

MAX_NAMED_CLASSES = 40  # above, a picture has no room for names and numbers
MAX_MATRIX_CLASSES = 2000  # above, a whole matrix has more cells than anybody reads
MAX_DRAWN_CLASSES = 1000  # the picture has no more pixels


def check_result(key: str, path: Path, models: str, count: int) -> None:
    """Raise UsageError, before the work, when what `key` asks for could not be written to `path` after it.

    key: predictions or report. models, count: what is evaluated, and of how many it consists; either is of one.
    """
    if count > 1:
        what = "predictions are" if key == "predictions" else f"a {key} is"
        raise UsageError(f"{what} of one checkpoint, and {models} holds {count}; name one file")
    require_new(path)


def evaluate_and_report(
    model: Logits,
    source: Source,
    preprocessing: Preprocessing,
    folder: Path,
    *,
    batch_size: int,
    workers: int,
    group: Group = ALONE,
    predictions: str = "",
    beat: Callable[[], None] = lambda: None,
    watchers: Sequence[Watcher] = (),
) -> Counter:
    """Evaluate `model` on `source`, whose classes are the model's (see `Source.for_network`): a progress bar, the
    seed's lines in the log, the report in `folder`.

    predictions: the CSV file for each image's answer, or empty. beat: called for each batch, as are the watchers.
    Raises ReportedError.
    """
    class_names = source.class_names
    collected = Predictions(class_names, source.task) if predictions else None

    def on_batch(logits: np.ndarray, labels: np.ndarray, indices: np.ndarray) -> None:
        beat()
        if collected:
            collected.add([source.image_name(i) for i in indices], labels, logits)
        for watch in watchers:
            watch(logits, labels, indices)

    shard = {"batch_size": batch_size, "workers": workers, "rank": group.rank, "world_size": group.world_size}
    accuracy = evaluate(
        model,
        evaluation_batches(source, preprocessing, **shard),
        batch_size=batch_size,
        num_classes=len(class_names),
        task=source.task,
        group=group,
        on_batch=on_batch,
        total=len(source),
    )
    if group.is_master:
        get_logger().info(accuracy.loss_line())
        for line in accuracy.lines():
            get_logger().info(line)
        if collected:
            collected.write(Path(predictions))
        make_folder(folder)
        if isinstance(accuracy, MultilabelScores):
            write_scores(accuracy, class_names, folder)
        else:
            write_report(accuracy, class_names, folder)
    return accuracy


def write_scores(scores: MultilabelScores, class_names: Sequence[str], folder: Path) -> None:
    """Write per_class_scores.csv into `folder`: of each class the figures, and the threshold fitted on these images.

    Raises ReportedError when the disk refuses.
    """
    rows = scores.per_class(class_names)
    write_text_atomically(folder / "per_class_scores.csv", csv_text([list(rows[0]), *(row.values() for row in rows)]))


def write_report(accuracy: Accuracy, class_names: Sequence[str], folder: Path) -> None:
    """Write per_class_accuracy.csv, confusion_matrix.csv and confusion_matrix.png into `folder`.

    A row of the matrix is a true class, a column a predicted one; of more than MAX_MATRIX_CLASSES classes only the
    cells that are not empty are written, a row each. Raises ReportedError when the disk refuses.
    """
    rows = accuracy.per_class(class_names)
    write_text_atomically(folder / "per_class_accuracy.csv", csv_text([list(rows[0]), *(row.values() for row in rows)]))
    if len(class_names) <= MAX_MATRIX_CLASSES:
        matrix = [["true \\ predicted", *class_names]]
        matrix += [[name, *counts] for name, counts in zip(class_names, accuracy.confusion.tolist(), strict=True)]
    else:
        matrix = [["true", "predicted", "images"]]
        matrix += [[class_names[true], class_names[guess], count] for true, guess, count in accuracy.cells.tolist()]
    write_text_atomically(folder / "confusion_matrix.csv", csv_text(matrix))
    write_picture(folder / "confusion_matrix.png", lambda path: draw_confusion(accuracy, class_names, path))


def draw_confusion(accuracy: Accuracy, class_names: Sequence[str], path: Path) -> None:
    """The confusion matrix as a PNG: colour is the share of the true class, the numbers are images.

    Of more than MAX_DRAWN_CLASSES classes, neighbours share a pixel.
    """
    with words(class_names if len(class_names) <= MAX_NAMED_CLASSES else ()) as shown:
        _draw_confusion(accuracy, shown or class_names, path)


def _draw_confusion(accuracy: Accuracy, class_names: Sequence[str], path: Path) -> None:
    from matplotlib.figure import Figure

    counts = _drawn(accuracy)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    named = len(class_names) <= MAX_NAMED_CLASSES
    side = 2.5 + 0.45 * len(class_names) if named else 10
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    end = len(counts) * -(-len(class_names) // len(counts)) - 0.5
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1, extent=[-0.5, end, end, -0.5])
    figure.colorbar(image, ax=axes, label="share of the true class", fraction=0.046)
    title = f"{accuracy.top1_correct} of {accuracy.seen} right: top-1 {100 * accuracy.top1:.2f} %"
    axes.set(xlabel="predicted class", ylabel="true class", title=title)
    if named:
        ticks = range(len(class_names))
        axes.set_xticks(ticks, class_names, rotation=90)
        axes.set_yticks(ticks, class_names)
        for true, predicted in zip(*np.nonzero(counts), strict=True):
            colour = "white" if share[true, predicted] > 0.5 else "black"
            axes.text(predicted, true, counts[true, predicted], ha="center", va="center", color=colour, fontsize=8)
    figure.savefig(path, dpi=100, bbox_inches="tight")


def _drawn(accuracy: Accuracy) -> np.ndarray:
    """The matrix, with as many neighbouring classes added up as it takes to have MAX_DRAWN_CLASSES at most."""
    together = -(-accuracy.num_classes // MAX_DRAWN_CLASSES)
    side = -(-accuracy.num_classes // together)
    counts = np.zeros((side, side), np.int64)
    np.add.at(counts, (accuracy.cells[:, 0] // together, accuracy.cells[:, 1] // together), accuracy.cells[:, 2])
    return counts


def label_text(label: np.ndarray, class_names: Sequence[str]) -> str:
    """The name of a label, or of those that are 1 in a row of several, `|` between them as in a CSV data set."""
    return class_names[label] if np.ndim(label) == 0 else "|".join(class_names[i] for i in np.flatnonzero(label == 1))


class Predictions:
    """Collects one row an image: name, label, and the five most probable classes with their probabilities."""

    def __init__(self, class_names: Sequence[str], task: str = "single") -> None:
        self.class_names, self.task = class_names, task
        self._best = min(5, len(class_names))
        ranks = range(1, self._best + 1)
        self._rows = [["image", "label", *(f"top{r}" for r in ranks), *(f"probability{r}" for r in ranks)]]

    def add(self, names: Sequence[str], labels: np.ndarray, logits: np.ndarray) -> None:
        """Take in a batch: names and labels of N images, logits (N, num_classes)."""
        answers = best_classes(logits, self._best, self.task)
        for name, label, (best, probabilities) in zip(names, labels, answers, strict=True):
            self._rows.append(
                [name, label_text(label, self.class_names), *(self.class_names[c] for c in best)]
                + [f"{p:.6f}" for p in probabilities]
            )

    def write(self, path: Path) -> None:
        """Write all rows as CSV. Raises ReportedError when the disk refuses, or when something appeared at `path`."""
        write_new_text(path, csv_text(self._rows))
