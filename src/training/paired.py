"""Two models' answers to the same pictures: is one of them better, or was it luck (McNemar 1947)?"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from src.utils.csv_text import cell_text, csv_text
from src.utils.errors import ReportedError
from src.utils.outside import read_outside
from src.utils.shown import shown

_COLUMNS = ("image", "label", "top1")
_MOST_BYTES = 2**31


@dataclass(frozen=True)
class Paired:
    """How many pictures both answer right, only the first, only the second, neither; and the test's p-value.

    p: two-sided and exact: how likely a split as uneven as that of the pictures on which one alone is right would be if
    both were equally good, a binomial distribution with 1/2.
    """

    both: int
    first_only: int
    second_only: int
    neither: int
    p: float


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> Paired:
    """The test for two sequences of one length: whether each picture's answer is right."""
    from scipy.stats import binomtest

    pairs = list(zip(map(bool, first), map(bool, second), strict=True))
    only = pairs.count((True, False)), pairs.count((False, True))
    p = binomtest(only[0], sum(only), 0.5).pvalue if sum(only) else 1.0
    return Paired(pairs.count((True, True)), *only, pairs.count((False, False)), float(p))


def compare_answers(first: Path, second: Path) -> tuple[list[str], str]:
    """What to say of two files of eval.py --predictions, and a CSV of the pictures that they answer differently.

    Raises ReportedError for other files, and when the pictures or their labels are not the same.
    """
    rows = [_read(path) for path in (first, second)]
    keys = [[(row["image"], row["label"]) for row in one] for one in rows]
    if sorted(keys[0]) != sorted(keys[1]):
        strange = set(keys[0]) ^ set(keys[1])
        image = shown(min(strange)[0]) if strange else "a picture that is there twice"
        raise ReportedError(
            f"{first} and {second} are not of the same pictures and labels: {len(keys[0])} and {len(keys[1])}, first "
            f"difference {image}; evaluate both models on the same data"
        )
    pairs = list(zip(*(sorted(one, key=lambda row: (row["image"], row["label"])) for one in rows), strict=True))
    right = [[row["label"] == row["top1"] for row in one] for one in zip(*pairs, strict=True)]
    found = mcnemar(*right)
    differ = [["image", "label", first.name, second.name]]
    differ += [[a["image"], a["label"], a["top1"], b["top1"]] for a, b in pairs if a["top1"] != b["top1"]]
    count = len(pairs)
    verdict = "a difference" if found.p < 0.05 else "no difference that could not be luck"
    lines = [
        *(f"{path}: {sum(one)} of {count} right, {100 * sum(one) / count:.2f} %"
          for path, one in zip((first, second), right, strict=True)),
        f"both right {found.both}, only the first {found.first_only}, only the second {found.second_only}, neither "
        f"{found.neither}",
        f"McNemar's test, exact: p = {found.p:.4g}: {verdict} at the level of 5 %",
        f"{len(differ) - 1} pictures are answered differently",
    ]  # fmt: skip
    return lines, csv_text(differ)


def _read(path: Path) -> list[dict[str, str]]:
    try:
        text = read_outside(path, _MOST_BYTES).decode("utf-8-sig")
        rows = list(csv.DictReader(text.splitlines(keepends=True), strict=True))
    except OSError as error:
        raise ReportedError(f"{path} cannot be read: {error.strerror}; give a file of eval.py --predictions") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ReportedError(f"{path} is no CSV file of eval.py --predictions: {error}; write it again") from error
    if not rows or any(row.get(name) is None for row in rows for name in _COLUMNS):
        raise ReportedError(
            f"{path} has no rows with the columns {', '.join(_COLUMNS)}, which eval.py --predictions writes for one "
            "label a picture; write it again"
        )
    found = [{name: cell_text(row[name]) for name in _COLUMNS} for row in rows]
    answers = {row["top1"] for row in found}
    several = [row for row in found if not row["label"] or ("|" in row["label"] and row["label"] not in answers)]
    if several:
        raise ReportedError(
            f"{path} has the label {shown(several[0]['label'])!r} for {shown(several[0]['image'])}, expected one class "
            "a picture: answers of several labels are not right or wrong as a whole"
        )
    return found
