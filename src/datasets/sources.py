"""Opening a data set by name: everything that can be checked without decoding pictures is checked here, once."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from src.datasets.cifar10 import find_folder, open_cifar10
from src.datasets.cifar100 import CIFAR100
from src.datasets.csv_file import open_csv
from src.datasets.digits import open_digits
from src.datasets.image_folder import open_folder
from src.datasets.image_list import open_list
from src.datasets.layouts import DATASETS, LAYOUTS
from src.datasets.listing import class_folders, picture_names
from src.datasets.mindrecord import is_packed, open_mindrecord
from src.datasets.reading import Reading, as_task
from src.datasets.source import Source
from src.utils.errors import ReportedError, UsageError
from src.utils.files import is_file, is_folder
from src.utils.shown import printable

SPLITS = ("train", "eval")
_TEXTS = (".txt", ".lst", ".list")
_LOOKED_AT = 20  # class folders; a few may be empty
AS_IT_IS = Reading()


def open_source(
    dataset: str,
    path: str | Path,
    *,
    split: str,
    class_names: Sequence[str] | None = None,
    reading: Reading = AS_IT_IS,
) -> Source:
    """Open one of DATASETS; `split`, 'train' or 'eval', tells the parts of cifar10, cifar100 and digits apart.

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
            source = _open_on_disk(dataset, Path(path), split, reading)
        except OSError as error:
            where = printable(error.filename or path)
            text = f"{where} cannot be read: {error.strerror}; expected {LAYOUTS[dataset]}"
            raise ReportedError(text + _other_kind(dataset, Path(path))) from error
        except ReportedError as error:
            if hint := _other_kind(dataset, Path(path)):
                raise type(error)(f"{error}{hint}") from error
            raise
    source = as_task(source, reading.task)
    return source if class_names is None else source.for_network(tuple(class_names))


def _other_kind(dataset: str, path: Path) -> str:
    """The end of a sentence about `path`, which is no data set of the kind `dataset`, when it looks like another."""
    found = ""
    with suppress(OSError):
        if is_file(path):
            found = "csv" if path.suffix.lower() == ".csv" else "list" if path.suffix.lower() in _TEXTS else ""
        elif is_packed(path):
            found = "mindrecord"
        elif is_folder(path) and any(find_folder(path).glob("*_batch*.bin")):
            found = "cifar10"
        elif is_folder(path) and all(
            is_file(find_folder(path, CIFAR100) / f"{part}.bin") for part in ("train", "test")
        ):
            found = "cifar100"
        elif any(picture_names(path / name) for name in class_folders(path)[:_LOOKED_AT]):
            found = "folder"
    if not found or LAYOUTS.get(found) == LAYOUTS.get(dataset):
        return ""
    return f"; it looks like {LAYOUTS[found]}: give --dataset {found}"


def _open_on_disk(dataset: str, path: Path, split: str, reading: Reading) -> Source:
    if dataset == "cifar10":
        return open_cifar10(path, split)
    if dataset == "cifar100":
        return open_cifar10(path, split, CIFAR100)
    if dataset == "mindrecord":
        return open_mindrecord(path)
    if dataset == "csv":
        return open_csv(path, reading)
    if dataset == "list":
        return open_list(path)
    return open_folder(dataset, path)
