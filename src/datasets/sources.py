"""Opening a data set by name: everything that can be checked without decoding pictures is checked here, once."""

from collections.abc import Sequence
from pathlib import Path

from src.datasets.cifar10 import open_cifar10
from src.datasets.digits import open_digits
from src.datasets.image_files import printable
from src.datasets.image_folder import open_folder
from src.datasets.image_list import open_list
from src.datasets.layouts import DATASETS, LAYOUTS
from src.datasets.source import Source
from src.utils.errors import ReportedError, UsageError

SPLITS = ("train", "eval")


def open_source(dataset: str, path: str | Path, *, split: str, class_names: Sequence[str] | None = None) -> Source:
    """Open one of DATASETS; `split`, 'train' or 'eval', tells the parts of cifar10 and digits apart.

    class_names: those of the network that will see the images, one for each output (see `Source.for_network`). Raises
    ReportedError for what is wrong on disk, and for a class that the network does not know.
    """
    if dataset not in DATASETS or split not in SPLITS:
        raise UsageError(f"there is no data set {dataset!r} with a part {split!r}; choose from {', '.join(DATASETS)}")
    if dataset == "digits":
        source = open_digits(split)
    elif not str(path):
        raise UsageError(f"the data set {dataset} needs a path; give it with --{split}_data_dir")
    else:
        try:
            source = _open_on_disk(dataset, Path(path), split)
        except OSError as error:
            where = printable(error.filename or path)
            raise ReportedError(f"{where} cannot be read: {error.strerror}; expected {LAYOUTS[dataset]}") from error
    return source if class_names is None else source.for_network(tuple(class_names))


def _open_on_disk(dataset: str, path: Path, split: str) -> Source:
    if dataset == "cifar10":
        return open_cifar10(path, split)
    if dataset == "list":
        return open_list(path)
    return open_folder(dataset, path)
