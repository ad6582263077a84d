"""The findings about a data set as a table for the terminal, as CSV, and as a page with small pictures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src.datasets.findings import Both, Finding, class_counts
from src.datasets.look import thumbnail
from src.utils.csv_text import csv_text
from src.utils.data_url import data_url
from src.utils.errors import ReportedError
from src.utils.pages import render

SHOWN_CLASSES, SHOWN_PICTURES, SIDE = 20, 40, 96  # rows of the table; small copies of one kind, and their longer side
_SETS = ("training", "held-out")


def as_text(both: Both, found: Sequence[Finding]) -> str:
    """What is printed."""
    lines = [
        f"{_SETS[k]} data {s.origin}: {len(s)} pictures, {len(s.class_names)} classes"
        for k, s in enumerate(both.sources)
    ]
    rows = _class_rows(both)
    width = max(len(row[0]) for row in rows)
    lines += ["", *("  ".join([row[0].ljust(width), *(cell.rjust(9) for cell in row[1:])]) for row in rows), ""]
    lines += _numbers(both)
    lines += ["", *(f"{'WRONG' if one.spoils else 'note '}  {one.text}{_first(both, one)}" for one in found)]
    lines.append("nothing was found" if not found else _verdict(found))
    return "\n".join(lines)


def as_csv(both: Both, found: Sequence[Finding]) -> str:
    """A row for each picture or pair that something was found about."""
    rows = [["finding", "spoils_training", "set", "image", "label", "other_set", "other_image", "other_label"]]
    for one in found:
        for numbers in one.pictures or [()]:
            cells = [cell for i in numbers for cell in _cells(both, i)]
            rows.append([one.kind if numbers else one.text, int(one.spoils), *(cells + [""] * 6)[:6]])
    return csv_text(rows)


def as_html(both: Both, found: Sequence[Finding]) -> str:
    """One page that needs no other file."""
    findings = [
        {
            "spoils": one.spoils, "text": one.text, "more": max(len(one.pictures) - SHOWN_PICTURES, 0),
            "figures": [[_picture(both, i) for i in numbers] for numbers in one.pictures[:SHOWN_PICTURES]],
        }
        for one in found
    ]  # fmt: skip
    return render(
        Path(__file__).with_name("check.html"), title=both.sources[0].origin, verdict=_verdict(found),
        rows=_class_rows(both), numbers=_numbers(both), findings=findings,
    )  # fmt: skip


def _class_rows(both: Both) -> list[list[str]]:
    counts = [dict(zip(s.class_names, class_counts(s).tolist(), strict=True)) for s in both.sources]
    names = sorted(set().union(*counts), key=lambda name: -counts[0].get(name, 0))
    rows = [["class", *_SETS[: len(counts)]]]
    shown = names if len(names) <= SHOWN_CLASSES else [*names[: SHOWN_CLASSES // 2], "", *names[-SHOWN_CLASSES // 2 :]]
    for name in shown:
        rows.append([name, *(str(count.get(name, 0)) for count in counts)] if name else ["..."] + [""] * len(counts))
    return rows


def _numbers(both: Both) -> list[str]:
    looks = both.looks
    mine = looks.usable.copy()
    mine[len(both.sources[0]) :] = False
    if not mine.any():
        return []
    mean = looks.mean[mine].mean(0)
    std = np.sqrt(np.maximum(looks.square[mine].mean(0) - mean**2, 0))
    width, height = looks.sizes[mine].T
    return [
        f"sizes: {width.min()}x{height.min()} to {width.max()}x{height.max()}, in the middle "
        f"{int(np.median(width))}x{int(np.median(height))}",
        "mean " + ", ".join(f"{value:.4f}" for value in mean) + "; std " + ", ".join(f"{value:.4f}" for value in std),
    ]


def _verdict(found: Sequence[Finding]) -> str:
    wrong = sum(one.spoils for one in found)
    return f"{wrong} findings would spoil training, {len(found) - wrong} are worth knowing"


def _first(both: Both, one: Finding) -> str:
    return (
        f" (first {' and '.join(both.name(i) for i in one.pictures[0])})"
        if one.pictures and one.kind != "unreadable"
        else ""
    )


def _cells(both: Both, i: int) -> list[str]:
    return [_SETS[both.place(i)[0]], both.name(i), "|".join(both.label(i))]


def _picture(both: Both, i: int) -> dict[str, str]:
    """A small copy of it, empty when it cannot be read, which is what is shown then; and what it is."""
    part, at = both.place(i)
    try:
        url = data_url(thumbnail(both.sources[part], at, SIDE), "JPEG")
    except ReportedError:
        url = ""
    return {"url": url, "says": " · ".join(filter(None, _cells(both, i)))}
