"""Reading text that people give us, of any size, line by line in little memory."""

from collections.abc import Iterator
from pathlib import Path

from src.utils.errors import ReportedError
from src.utils.outside import open_outside

MAX_LINE = 2**16  # bytes: of a path and a label; what has no line ends is no text
_BLOCK = 2**22


def read_lines(path: Path, shown: str, expected: str) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the number of the first line, from 1, and the lines of one part of a UTF-8 file after another.

    Line ends (also \\r\\n and \\r) and a byte order mark are taken away. shown, expected: the file's name as it can be
    printed and what it should be, for errors. Raises ReportedError, naming the line where there is one, for what is no
    file, no UTF-8 or has an endless line, and OSError.
    """
    if not path.is_file():  # asked before it is opened: a pipe or /dev/zero has no end
        raise ReportedError(f"{shown} is no file; expected {expected}")
    number, rest = 1, b""
    with open_outside(path) as file:
        while block := file.read(_BLOCK):
            data = rest + block
            if number == 1 and data.startswith(b"\xef\xbb\xbf"):
                data = data[3:]
            end = max(data.rfind(b"\n"), data.rfind(b"\r", 0, len(data) - 1)) + 1  # a last \r may be half of \r\n
            rest = data[end:]
            lines = _split(shown, data[:end], expected) if end else []
            if lines:
                _check_lengths(shown, number, lines, expected)
                yield number, lines
                number += len(lines)
            _check_lengths(shown, number, [rest], expected)
    if rest:
        yield number, _split(shown, rest, expected)


def _split(shown: str, data: bytes, expected: str) -> list[bytes]:
    """The lines of `data`, which ends where a line ends."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ReportedError(f"{shown} is not UTF-8 text; expected {expected}") from error
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return data.removesuffix(b"\n").split(b"\n")


def _check_lengths(shown: str, number: int, lines: list[bytes], expected: str) -> None:
    if max(map(len, lines)) > MAX_LINE:
        at = next(i for i, line in enumerate(lines) if len(line) > MAX_LINE)
        raise ReportedError(f"{shown} line {number + at} is longer than {MAX_LINE} bytes; expected {expected}")
