"""CSV files that a spreadsheet can open: a name in them stays a name, even one that begins like a formula."""

import csv
import re
from collections.abc import Iterable, Sequence

_FORMULA = re.compile(r"'*[=+\-@\t\r]")  # what spreadsheets calculate, behind apostrophes that we or others put there


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """The rows as CSV. Texts are written as `cell` has them, numbers as they are."""
    lines = _Lines()
    csv.writer(lines).writerows([cell(value) if isinstance(value, str) else value for value in row] for row in rows)
    return "".join(lines)


def cell(text: str) -> str:
    """`text` with an apostrophe in front if a spreadsheet would take it for a formula: `'=1+1`."""
    return f"'{text}" if _FORMULA.match(text) else text


def cell_text(cell: str) -> str:
    """The text behind a cell of `csv_text`: the inverse of `cell`."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


class _Lines(list):
    """Takes rows that end as csv's do: told to end them otherwise, it would not quote a carriage return."""

    def write(self, row: str) -> None:
        self.append(row.removesuffix("\r\n") + "\n")
