"""What the C++ program leaves: a file of raw logits for each image, and a summary that says how to read it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src.deploy.labels import check_labels
from src.utils.counter import Counter, counter_of
from src.utils.errors import ReportedError
from src.utils.outside import open_outside, read_outside
from src.utils.shown import printable
from src.utils.strict_json import parse_json

SUFFIX = "_0.bin"
_MAX_BYTES = 2**20  # of the summary
_MAX_CLASSES = 1_000_000
_DTYPES = {"float32": np.dtype("<f4"), "float16": np.dtype("<f2")}
_BATCH = 1024
_SAMPLE, _MOST_LOGIT = 256, 1024.0


@dataclass(frozen=True)
class Form:
    """Each file holds `num_classes` values of `dtype`."""

    num_classes: int
    dtype: np.dtype


def read_summary(path: Path) -> Form:
    """Read the form of the results from summary.json. Raises ReportedError for whatever is not that."""
    try:
        values = parse_json(read_outside(path, _MAX_BYTES))
    except OSError as error:
        raise ReportedError(
            f"the summary {path} cannot be read: {error.strerror}; give the C++ program's summary.json"
        ) from error
    except ValueError as error:
        raise ReportedError(f"{path} is not JSON: {error}; run the inference again") from error
    values = values if isinstance(values, dict) else {}
    dtype, classes = values.get("dtype"), values.get("classes")
    if dtype not in _DTYPES or type(classes) is not int or not 1 <= classes <= _MAX_CLASSES:
        raise ReportedError(
            f"{path} says dtype {dtype!r:.40} and classes {classes!r:.40}, expected float32 or float16 and a number; "
            "run the inference again"
        )
    return Form(classes, _DTYPES[dtype])


def form_from_size(folder: Path, num_classes: int) -> Form:
    """Tell float32 from float16 by the size of the first file in `folder`.

    Raises ReportedError when it is that of neither, or of what can only be float32 of half as many classes.
    """
    path = folder / (min(list_results(folder)) + SUFFIX)
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ReportedError(f"{printable(path)} cannot be read: {error.strerror}") from error
    for dtype in _DTYPES.values():
        if size == num_classes * dtype.itemsize:
            form = Form(num_classes, dtype)
            if dtype.itemsize == 2 and num_classes % 2 == 0:
                _refuse_float32(folder, form)
            return form
    raise ReportedError(
        f"{printable(path)} has {size} bytes, expected {4 * num_classes} (float32) or "
        f"{2 * num_classes} (float16) for {num_classes} classes"
    )


def _refuse_float32(folder: Path, form: Form) -> None:
    """Raise ReportedError when every second of the float16 values in `folder` is the lower half of a float32.

    Such a half is any 16 bits, a number as large as no logit is among them; or, of a float32 that was a float16 once,
    its last 13 bits are zero, always.
    """
    names = sorted(list_results(folder))[:_SAMPLE]
    lower = np.stack([_read_logits(folder / (name + SUFFIX), form, raw=True)[::2] for name in names])
    values = lower.astype(np.float32)
    if not (np.abs(values) <= _MOST_LOGIT).all() or not (lower.view("<u2") & 0x1FFF).any():
        raise ReportedError(
            f"{folder} holds no float16 values of {form.num_classes} classes; as float32 they are of "
            f"{form.num_classes // 2}: give that number, or --summary"
        )


def list_results(folder: Path) -> set[str]:
    """The names of the images with a result in `folder`, `class/name` for those in a folder of their class.

    Raises ReportedError when there are none.
    """
    names = set()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    inner = os.listdir(entry)  # noqa: PTH208
                    names.update(f"{entry.name}/{name.removesuffix(SUFFIX)}" for name in inner if name.endswith(SUFFIX))
                elif entry.name.endswith(SUFFIX):
                    names.add(entry.name.removesuffix(SUFFIX))
    except OSError as error:
        raise ReportedError(f"the results {folder} cannot be read: {error.strerror}") from error
    if not names:
        raise ReportedError(f"{folder} holds no results, files that end in {SUFFIX}; run the inference first")
    return names


def count_results(folder: Path, labels: Mapping[str, int | np.ndarray], form: Form, task: str = "single") -> Counter:
    """Compare every result in `folder` with its label; task: see `counter_of`.

    Raises ReportedError when an image has a result but no label or the reverse, a label is no class of the model, or a
    file is not of the `form`.
    """
    names = list_results(folder)
    check_labels(labels, names, form.num_classes, "result")
    ordered = sorted(names)
    _read_logits(folder / (ordered[0] + SUFFIX), form)  # before a wrong number of classes takes all memory
    accuracy = counter_of(task, form.num_classes)
    for start in range(0, len(ordered), _BATCH):
        batch = ordered[start : start + _BATCH]
        logits = np.stack([_read_logits(folder / (name + SUFFIX), form) for name in batch])
        accuracy.update(logits, np.array([labels[name] for name in batch]))
    return accuracy


def _read_logits(path: Path, form: Form, *, raw: bool = False) -> np.ndarray:
    expected = form.num_classes * form.dtype.itemsize
    try:
        with open_outside(path) as file:
            data = file.read(expected + 1)
    except OSError as error:
        raise ReportedError(f"{printable(path)} cannot be read: {error.strerror}") from error
    if len(data) != expected:
        found = f"{len(data)} bytes" if len(data) < expected else f"more than {expected} bytes"
        raise ReportedError(
            f"{printable(path)} has {found}, expected {expected} for {form.num_classes} classes of {form.dtype.name}; "
            "run the inference again"
        )
    logits = np.frombuffer(data, form.dtype)
    return logits if raw else logits.astype(np.float32)
