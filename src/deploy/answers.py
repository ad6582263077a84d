"""A model's answers to a user's own pictures: on the terminal, as CSV or JSON, as heat maps."""

import json
from collections.abc import Sequence
from pathlib import Path

from src.datasets.classification import usable_indices
from src.datasets.pictures import open_pictures
from src.datasets.source import Source
from src.utils.csv_text import csv_text
from src.utils.errors import ReportedError
from src.utils.logging import get_logger

UNKNOWN = "unknown"
Named = Sequence[tuple[str, float]]  # classes and their probabilities, best first


def usable_pictures(path: Path, on_bad_image: str, workers: int) -> Source:
    """The pictures at `path`, a file or a folder; with on_bad_image skip without those that cannot be decoded.

    What is left out is logged. Raises ReportedError when none is left.
    """
    source = open_pictures(path)
    for remark in source.remarks:
        get_logger().warning("%s: %s", path, remark)
    if on_bad_image == "skip":
        good, problems = usable_indices(source, workers)
        for problem in problems:
            get_logger().warning("skipped: %s", problem)
        if not len(good):
            raise ReportedError(f"none of the {len(source)} pictures in {path} can be decoded")
        source = source.subset(good)
    return source


def answer_of(best: Named, unknown_below: float) -> str:
    """The most probable class, or UNKNOWN when its probability is below `unknown_below`."""
    name, probability = best[0]
    return name if probability >= unknown_below else UNKNOWN


def as_line(image: str, best: Named, unknown_below: float) -> str:
    """`cat.jpg: tabby 81.20 %, tiger cat 12.04 %`; an answer that is unknown says so first."""
    shown = ", ".join(f"{name} {100 * probability:.2f} %" for name, probability in best)
    unknown = best[0][1] < unknown_below
    return f"{image}: {UNKNOWN} ({shown})" if unknown else f"{image}: {shown}"


def as_csv(answers: Sequence[tuple[str, Named]], unknown_below: float) -> str:
    """A row an image: its name, the answer, the classes best first, their probabilities."""
    ranks = range(1, 1 + max((len(best) for _, best in answers), default=0))
    rows = [["image", "answer", *(f"top{r}" for r in ranks), *(f"probability{r}" for r in ranks)]]
    for image, best in answers:
        names, probabilities = zip(*best, strict=True)
        rows.append([image, answer_of(best, unknown_below), *names, *(f"{p:.6f}" for p in probabilities)])
    return csv_text(rows)


def as_json(answers: Sequence[tuple[str, Named]], unknown_below: float) -> str:
    """A list of `{"image": ..., "answer": ..., "top": [{"class": ..., "probability": ...}, ...]}`."""
    values = [
        {
            "image": image,
            "answer": answer_of(best, unknown_below),
            "top": [{"class": name, "probability": round(probability, 6)} for name, probability in best],
        }
        for image, best in answers
    ]
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"


WRITERS = {".csv": as_csv, ".json": as_json}
