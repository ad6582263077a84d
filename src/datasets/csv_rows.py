"""The rows of a CSV file, in blocks, so that a file of millions of lines takes little memory."""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

from src.datasets.csv_layout import EXPECTED
from src.utils.errors import ReportedError
from src.utils.outside import open_outside

_BLOCK = 4096
_QUOTED = re.compile(r'"[^"]*"')


def read_rows(path: Path, where: str) -> Iterator[tuple[list[int], list[list[str]]]]:
    """Blocks of rows that are not empty, with the numbers of the lines on which they end.

    Raises ReportedError for what is no CSV file of UTF-8 text.
    """
    numbers: list[int] = []
    rows: list[list[str]] = []
    with open_outside(path) as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
        try:
            head = text.readline(2**16)
            if not head.strip():
                raise ReportedError(f"{where} is empty or begins with an empty line; expected {EXPECTED}")
            text.seek(0)
            outside = _QUOTED.sub("", head)  # names in quotes may hold what separates others
            reader = csv.reader(text, delimiter=max(",;\t", key=outside.count), strict=True)
            for row in reader:
                if any(row):
                    numbers.append(reader.line_num)
                    rows.append(row)
                if len(rows) == _BLOCK:
                    yield numbers, rows
                    numbers, rows = [], []
        except csv.Error as error:
            raise ReportedError(f"{where} line {reader.line_num}: {error}; expected {EXPECTED}") from error
        except UnicodeDecodeError as error:
            raise ReportedError(f"{where} is not UTF-8 text; save it as CSV with UTF-8; expected {EXPECTED}") from error
    if rows:
        yield numbers, rows
