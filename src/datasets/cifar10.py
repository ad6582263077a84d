"""CIFAR-10 and CIFAR-100 in their binary versions: records of one or two label bytes and 3072 pixel bytes (channel,
row, column).

The layout is described at https://www.cs.toronto.edu/~kriz/cifar.html. MindSpore's Cifar10Dataset is not used: it
refuses files of less than 10000 records, reads only the first 10000 of longer ones and does not check labels.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src.datasets.class_names import require_distinct
from src.datasets.identity import hash_of, sample
from src.datasets.preprocessing_choices import DECODED
from src.datasets.source import Source
from src.utils.byte_arrays import read_array
from src.utils.errors import ReportedError
from src.utils.shown import printable

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PATTERNS = {"train": "data_batch_*.bin", "eval": "test_batch.bin"}
_PIXEL_BYTES = 3 * 32 * 32
_MAX_META_BYTES = 2**16  # of a hundred names
MAX_FILE_BYTES = 2**31  # CIFAR-100's own have 154 million


@dataclass(frozen=True)
class Records:
    """How a data set of records is laid out. patterns: its files, by split. folder: where its archive unpacks them.
    names_file: the text file of its class names, one a line. label_bytes: before the pixels, of which the last counts.
    """

    dataset: str
    title: str
    patterns: dict[str, str]
    folder: str
    archive: str
    names_file: str
    class_names: tuple[str, ...]
    label_bytes: int = 1

    @property
    def record_bytes(self) -> int:
        """Of a label and its pixels."""
        return self.label_bytes + _PIXEL_BYTES


CIFAR10 = Records(
    "cifar10", "CIFAR-10", PATTERNS, "cifar-10-batches-bin", "cifar-10-binary.tar.gz", "batches.meta.txt", CLASS_NAMES
)


def open_cifar10(path: Path, split: str, form: Records = CIFAR10) -> Source:
    """Open the training or the test records (data_batch_*.bin, test_batch.bin) in `path` or the folder of the archive
    (cifar-10-batches-bin) in it.

    Any number of records and, for training, of files. Raises ReportedError for a missing folder or file, a file that is
    not whole records, a label above 9.
    """
    folder = find_folder(path, form)
    files = sorted(folder.glob(form.patterns[split]))
    if not files:
        raise ReportedError(
            f"{printable(folder)} holds no {form.patterns[split]}; expected the binary version of {form.title}, "
            f"unpacked from {form.archive}"
        )
    parts = [open_records(file, form) for file in files]
    ends = np.cumsum([len(part) for part in parts])

    def locate(i: int) -> tuple[int, int]:
        part = int(np.searchsorted(ends, i, side="right"))
        return part, int(i - ends[part] + len(parts[part]))

    def read(i: int) -> np.ndarray:
        part, record = locate(i)
        return np.ascontiguousarray(parts[part][record, form.label_bytes :].reshape(3, 32, 32).transpose(1, 2, 0))

    def image_name(i: int) -> str:
        part, record = locate(i)
        return f"{files[part].name}[{record}]"

    labels = np.concatenate([part[:, form.label_bytes - 1] for part in parts]).astype(np.int32)
    return Source(
        form.dataset,
        read_class_names(folder, form),
        labels,
        form=DECODED,
        read=read,
        image_name=image_name,
        origin=printable(path),
        identity=lambda: hash_of(sample(len(labels), lambda i: read(i).tobytes())),
    )


def find_folder(path: Path, form: Records = CIFAR10) -> Path:
    """Return the folder `path`, or that of the archive in it. Raises ReportedError when it is no folder."""
    if not path.is_dir():
        files = [pattern.replace("*", "1") for pattern in form.patterns.values()]
        raise ReportedError(f"{printable(path)} is no folder; expected the one that holds {' and '.join(files)}")
    inner = path / form.folder
    return inner if inner.is_dir() else path


def open_records(file: Path, form: Records = CIFAR10) -> np.ndarray:
    """Read a file as uint8 (records, record_bytes), its labels checked. Raises ReportedError, or OSError.

    It is not mapped into memory: a mapped file that is cut later ends the process with SIGBUS.
    """
    data = read_array(file, MAX_FILE_BYTES)
    if len(data) == 0 or len(data) % form.record_bytes:
        raise ReportedError(
            f"{printable(file)} has {len(data)} bytes, not whole records of {form.record_bytes} bytes; it is truncated "
            f"or not {form.title}"
        )
    records = data.reshape(-1, form.record_bytes)
    labels = records[:, form.label_bytes - 1]
    wrong = np.flatnonzero(labels >= len(form.class_names))
    if len(wrong):
        raise ReportedError(
            f"{printable(file)} has the label {labels[wrong[0]]} in record {wrong[0]}; expected 0 to "
            f"{len(form.class_names) - 1}, so this is not {form.title}"
        )
    return records


def read_class_names(folder: Path, form: Records = CIFAR10) -> tuple[str, ...]:
    """The names in the folder's names_file, or the data set's own. Raises ReportedError unless they are as many."""
    file = folder / form.names_file
    if not file.is_file():
        return form.class_names
    with file.open("rb") as opened:
        text = opened.read(_MAX_META_BYTES).decode("utf-8", "replace")
    names = tuple(printable(line.strip()) for line in text.splitlines() if line.strip())
    wanted = len(form.class_names)
    if len(names) != wanted:
        raise ReportedError(f"{printable(file)} should name {wanted} classes, one a line, found {len(names)}")
    require_distinct(names, printable(file))
    return names
