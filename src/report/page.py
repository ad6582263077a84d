"""The report of an evaluation: one HTML file that needs nothing besides itself, neither a network nor other files."""

import math
from pathlib import Path

from src.report import multilabel, single
from src.report.evaluated import Evaluated
from src.utils.files import write_new_text
from src.utils.pages import render


def write_page(path: Path, evaluated: Evaluated) -> None:
    """Write the report to `path`. Raises ReportedError when the disk refuses or something appeared there meanwhile."""
    kind = multilabel if evaluated.card.task == "multilabel" else single
    template = Path(__file__).with_name(f"{kind.__name__.rpartition('.')[2]}.html")
    filters = {"percent": percent, "figure4": figure4, "number": lambda value: f"{value:,}"}
    write_new_text(path, render(template, filters, **kind.contents(evaluated)))


def percent(value: float, digits: int = 2) -> str:
    """`12.34 %`, and a dash for nan."""
    return "-" if math.isnan(value) else f"{100 * value:.{digits}f} %"


def figure4(value: float) -> str:
    """`0.1234`, and a dash for nan."""
    return "-" if math.isnan(value) else f"{value:.4f}"
