"""Opening a data set for a run: what is wrong with its images is settled, and what was found said, before a batch."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from src.datasets.class_names import some, used_class_names
from src.datasets.classification import usable_indices
from src.datasets.listing import UNDECODABLE
from src.datasets.reading import Reading
from src.datasets.source import Source
from src.datasets.sources import AS_IT_IS, open_source
from src.utils.errors import ReportedError
from src.utils.files import write_text_atomically
from src.utils.logging import get_logger


def open_usable(
    dataset: str,
    path: str,
    *,
    split: str,
    on_bad_image: str,
    workers: int,
    folder: Path,
    reading: Reading = AS_IT_IS,
) -> Source:
    """`open_source`; with on_bad_image 'skip' the images that cannot be decoded are left out, counted in the log and
    listed in `folder`/skipped_SPLIT_images.txt, and those of a CSV file that are not there counted; otherwise those of
    a kind that never can be decoded are an error.

    Raises ReportedError when nothing is left.
    """
    skips = on_bad_image == "skip"
    source = open_source(dataset, path, split=split, reading=replace(reading, skips_missing=skips))
    if skips:
        return _without_bad_images(source, path, split, workers, folder)
    refuse_undecodable(source)
    return source


def refuse_undecodable(source: Source) -> None:
    """Raise ReportedError when files are pictures of a kind that cannot be decoded, by their endings."""
    count, first = source.undecodable
    if count:
        raise ReportedError(
            f"{count} of {len(source)} pictures of {source.origin} are of a kind that cannot be decoded "
            f"({', '.join(UNDECODABLE)}), first {first}; convert them to JPEG or PNG, or leave them out with "
            "--on_bad_image skip"
        )


def describe(source: Source, split: str) -> None:
    """Log in one line how many pictures of how many classes there are, and, as a warning, whatever looks odd."""
    names = used_class_names(source.class_names)
    several = source.is_multilabel
    counts = (source.labels == 1).sum(0) if several else np.bincount(source.labels, minlength=len(names))
    filled = np.flatnonzero(counts)
    if not len(filled):
        raise ReportedError(f"none of the {len(source)} pictures of {source.origin} is of any class; expected some")
    least, most = filled[counts[filled].argmin()], filled[counts[filled].argmax()]
    text = (
        f"{'training' if split == 'train' else 'held-out'} data {source.origin}: {len(source)} pictures of "
        f"{len(filled)} classes, {counts[least]} "
    )
    if counts[least] < counts[most]:
        text += f"({source.class_names[least]!r}) to {counts[most]} ({source.class_names[most]!r}) "
    text += "in each class"
    if several:
        none, unknown = int((~(source.labels == 1).any(1)).sum()), float((source.labels < 0).mean())
        text += f"; several labels a picture, {none} pictures with none, {100 * unknown:.1f} % of the labels unknown"
    empty = [names[i] for i in np.flatnonzero(counts[: len(names)] == 0)]
    odd = [f"{len(empty)} classes without a picture: {some(empty)}"] if empty else []
    if several and (always := [names[i] for i in filled if not (source.labels[:, i] == 0).any()]):
        odd.append(f"{len(always)} classes that no picture is known not to show: {some(always)}")
    odd += [*source.remarks, *([source.guess] if source.guess else [])]
    if odd:
        get_logger().warning("%s; %s", text, "; ".join(odd))
    else:
        get_logger().info("%s", text)


def _without_bad_images(source: Source, path: str, split: str, workers: int, folder: Path) -> Source:
    good, problems = usable_indices(source, workers)
    if not problems:
        return source
    listed = folder / f"skipped_{split}_images.txt"
    write_text_atomically(listed, "\n".join(problems) + "\n")
    get_logger().warning("%d of %d %s images skipped, listed in %s", len(problems), len(source), split, listed)
    if not len(good):
        raise ReportedError(f"none of the {len(source)} {split} images in {path} can be decoded; see {listed}")
    return source.subset(good)
