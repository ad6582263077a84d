"""Opening a data set for a run: what is wrong with its images is settled here, before the first batch."""

from collections.abc import Sequence
from pathlib import Path

from src.datasets.classification import usable_indices
from src.datasets.source import Source
from src.datasets.sources import open_source
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
    class_names: Sequence[str] | None = None,
) -> Source:
    """`open_source`; with on_bad_image 'skip' the images that cannot be decoded are left out, counted in the log and
    listed in `folder`/skipped_SPLIT_images.txt. Raises ReportedError when nothing is left.
    """
    source = open_source(dataset, path, split=split, class_names=class_names)
    if on_bad_image != "skip":
        return source
    good, problems = usable_indices(source, workers)
    if not problems:
        return source
    listed = folder / f"skipped_{split}_images.txt"
    write_text_atomically(listed, "\n".join(problems) + "\n")
    get_logger().warning("%d of %d %s images skipped, listed in %s", len(problems), len(source), split, listed)
    if not len(good):
        raise ReportedError(f"none of the {len(source)} {split} images in {path} can be decoded; see {listed}")
    return source.subset(good)
