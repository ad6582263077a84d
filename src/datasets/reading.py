"""How a data set is to be read where its files leave a choice, and one label a picture or several."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from src.datasets.source import Source
from src.utils.errors import ReportedError

TASKS = ("auto", "single", "multilabel")
NO_CLASS = "no finding"  # what ChestX-ray14 writes for a picture of no class
UNCERTAIN = {"ignore": -1, "zeros": 0, "ones": 1}


@dataclass(frozen=True)
class Reading:
    """image_root: the folder of a CSV file's pictures, empty for the file's own. uncertain: one of UNCERTAIN, what -1
    stands for. task: one of TASKS; auto is what the data say. skips_missing: pictures that are not there are left out,
    as of a set of which a part was downloaded.
    """

    image_root: str = ""
    uncertain: str = "ignore"
    task: str = "auto"
    skips_missing: bool = False


def reading_as_before(run_config: object, image_root: object, uncertain: object) -> Reading:
    """What was given (None for what was not), else as in `run_config`, of which nothing is trusted."""
    before = run_config if isinstance(run_config, Mapping) else {}
    if image_root is None:
        image_root = before.get("image_root")
    if uncertain is None:
        uncertain = before.get("uncertain")
    root = image_root if isinstance(image_root, str) else ""
    return Reading(root, uncertain if uncertain in UNCERTAIN else "ignore")


def as_task(source: Source, task: str) -> Source:
    """`source` with one label a picture (`single`) or a yes or no for each class (`multilabel`); auto: as it is.

    Raises ReportedError for a picture without exactly one class where one is wanted.
    """
    if task == "multilabel" and not source.is_multilabel:
        labels = np.zeros((len(source), len(source.class_names)), np.int8)
        labels[np.arange(len(source)), source.labels] = 1
        # Of a CSV file in which no picture has two labels: that one says that a picture has none.
        kept = [i for i, name in enumerate(source.class_names) if source.dataset != "csv" or name.lower() != NO_CLASS]
        names = tuple(source.class_names[i] for i in kept)
        return replace(source, labels=labels[:, kept], class_names=names, numbered=False)
    if task == "single" and source.is_multilabel:
        positives = (source.labels == 1).sum(1)
        odd = np.flatnonzero((positives != 1) | (source.labels < 0).any(1))
        if len(odd):
            raise ReportedError(
                f"{source.image_name(int(odd[0]))} has {positives[odd[0]]} classes, as {len(odd)} of the "
                f"{len(source)} pictures of {source.origin} have not exactly one; expected one with --task single, "
                "give --task multilabel"
            )
        return replace(source, labels=(source.labels == 1).argmax(1).astype(np.int32))
    return source
