"""CIFAR-10 in its binary version: records of one label byte and 3072 pixel bytes (channel, row, column).

The layout is described at https://www.cs.toronto.edu/~kriz/cifar.html. MindSpore's Cifar10Dataset is not used: it
refuses files of less than 10000 records, reads only the first 10000 of longer ones and does not check labels.
"""

from pathlib import Path

import numpy as np

from src.datasets.class_names import require_distinct
from src.datasets.identity import hash_of, sample
from src.datasets.source import Source
from src.utils.byte_arrays import read_array
from src.utils.errors import ReportedError
from src.utils.shown import printable

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PATTERNS = {"train": "data_batch_*.bin", "eval": "test_batch.bin"}
RECORD_BYTES = 1 + 3 * 32 * 32
_MAX_META_BYTES = 2**16  # of ten names
MAX_FILE_BYTES = 2**31  # CIFAR-10's own have 31 million


def open_cifar10(path: Path, split: str) -> Source:
    """Open the training (data_batch_*.bin) or the test records (test_batch.bin) in `path` or its cifar-10-batches-bin.

    Any number of records and, for training, of files. Raises ReportedError for a missing folder or file, a file that is
    not whole records, a label above 9.
    """
    folder = find_folder(path)
    files = sorted(folder.glob(PATTERNS[split]))
    if not files:
        raise ReportedError(
            f"{printable(folder)} holds no {PATTERNS[split]}; expected the binary version of CIFAR-10, unpacked from "
            "cifar-10-binary.tar.gz"
        )
    parts = [open_records(file) for file in files]
    ends = np.cumsum([len(part) for part in parts])

    def locate(i: int) -> tuple[int, int]:
        part = int(np.searchsorted(ends, i, side="right"))
        return part, int(i - ends[part] + len(parts[part]))

    def read(i: int) -> np.ndarray:
        part, record = locate(i)
        return np.ascontiguousarray(parts[part][record, 1:].reshape(3, 32, 32).transpose(1, 2, 0))

    def image_name(i: int) -> str:
        part, record = locate(i)
        return f"{files[part].name}[{record}]"

    labels = np.concatenate([part[:, 0] for part in parts]).astype(np.int32)
    return Source(
        "cifar10",
        read_class_names(folder),
        labels,
        encoded=False,
        read=read,
        image_name=image_name,
        origin=printable(path),
        identity=lambda: hash_of(sample(len(labels), lambda i: read(i).tobytes())),
    )


def find_folder(path: Path) -> Path:
    """Return the folder `path`, or the cifar-10-batches-bin in it. Raises ReportedError when it is no folder."""
    if not path.is_dir():
        raise ReportedError(
            f"{printable(path)} is no folder; expected the one that holds data_batch_1.bin and test_batch.bin"
        )
    inner = path / "cifar-10-batches-bin"
    return inner if inner.is_dir() else path


def open_records(file: Path) -> np.ndarray:
    """Read a file as uint8 (records, RECORD_BYTES), its labels checked. Raises ReportedError, or OSError.

    It is not mapped into memory: a mapped file that is cut later ends the process with SIGBUS.
    """
    data = read_array(file, MAX_FILE_BYTES)
    if len(data) == 0 or len(data) % RECORD_BYTES:
        raise ReportedError(
            f"{printable(file)} has {len(data)} bytes, not whole records of {RECORD_BYTES} bytes; it is truncated or "
            "not CIFAR-10"
        )
    records = data.reshape(-1, RECORD_BYTES)
    wrong = np.flatnonzero(records[:, 0] >= len(CLASS_NAMES))
    if len(wrong):
        raise ReportedError(
            f"{printable(file)} has the label {records[wrong[0], 0]} in record {wrong[0]}; expected 0 to 9, so this is "
            "not CIFAR-10"
        )
    return records


def read_class_names(folder: Path) -> tuple[str, ...]:
    """The names in the folder's batches.meta.txt, or CIFAR-10's own. Raises ReportedError unless they are ten."""
    file = folder / "batches.meta.txt"
    if not file.is_file():
        return CLASS_NAMES
    with file.open("rb") as opened:
        text = opened.read(_MAX_META_BYTES).decode("utf-8", "replace")
    names = tuple(printable(line.strip()) for line in text.splitlines() if line.strip())
    if len(names) != len(CLASS_NAMES):
        raise ReportedError(f"{printable(file)} should name {len(CLASS_NAMES)} classes, one a line, found {len(names)}")
    require_distinct(names, printable(file))
    return names
