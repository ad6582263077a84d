"""Reading what a rank writes into its log, while it does so and afterwards."""

import re
from pathlib import Path
from typing import BinaryIO

_CHATTER = re.compile(rb"\[(DEBUG|INFO|WARNING)\] [A-Z_]+\(\d+,")  # MindSpore's own, dozens of lines a start
_TAIL = 2**16  # bytes
_WORDS = 600  # characters of a line that are shown


class Follower:
    """Copies the lines of a growing log to `out`, MindSpore's chatter left out. The log need not exist yet."""

    def __init__(self, path: Path, out: BinaryIO) -> None:
        self._path, self._out = path, out
        self._position, self._rest = 0, b""

    def copy_new(self) -> None:
        """Copy the whole lines that are new. Raises BrokenPipeError when the reader of `out` has gone."""
        try:
            with self._path.open("rb") as log:
                log.seek(self._position)
                new = log.read()
        except FileNotFoundError:
            return
        self._position += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        self._write(lines)

    def copy_rest(self) -> None:
        """Copy what is left when nothing more will be written, an unfinished last line too."""
        self.copy_new()
        if self._rest:
            self._write([self._rest])

    def _write(self, lines: list[bytes]) -> None:
        shown = [line + b"\n" for line in lines if not _CHATTER.match(line)]
        if shown:
            self._out.writelines(shown)
            self._out.flush()


def last_words(path: Path) -> str:
    """The line of a log that most likely says why its process ended: the last `error: ...`, else the last exception of
    a traceback, else the last line that is not MindSpore's chatter; empty when there is none.
    """
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - _TAIL))
            lines = [line.strip() for line in log.read().split(b"\n")]
    except OSError:
        return ""
    lines = [line for line in lines if line and not _CHATTER.match(line)]
    for pattern in (rb"error: ", rb"[\w.]*(Error|Exception|Interrupt): ", rb""):
        found = [line for line in lines if re.match(pattern, line)]
        if found:
            text = found[-1].decode(errors="replace")
            return "".join(c if c.isprintable() else " " for c in text)[:_WORDS]
    return ""
