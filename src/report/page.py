"""The report of an evaluation: one HTML file that needs nothing besides itself, neither a network nor other files."""

import math
from pathlib import Path

from src.report import multilabel, single
from src.report.evaluated import Evaluated
from src.utils.files import write_new_text


def write_page(path: Path, evaluated: Evaluated) -> None:
    """Write the report to `path`. Raises ReportedError when the disk refuses or something appeared there meanwhile."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # for this alone

    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": percent, "figure4": figure4, "number": lambda value: f"{value:,}"}
    kind = multilabel if evaluated.card.task == "multilabel" else single
    template = environment.get_template(f"{kind.__name__.rpartition('.')[2]}.html")
    write_new_text(path, template.render(kind.contents(evaluated)))


def percent(value: float, digits: int = 2) -> str:
    """`12.34 %`, and a dash for nan."""
    return "-" if math.isnan(value) else f"{100 * value:.{digits}f} %"


def figure4(value: float) -> str:
    """`0.1234`, and a dash for nan."""
    return "-" if math.isnan(value) else f"{value:.4f}"
