"""Text from files on its way to a terminal, a log or a table: it is read there, never obeyed."""

import os
from collections.abc import Callable


def shown(text: str) -> str:
    """`text` with what a terminal would act upon (escape sequences, turned writing direction) written out: `\\x1b`.

    Line breaks and tabs stay.
    """
    return _without_controls(text, lambda letter: letter.encode("unicode_escape").decode(), allowed="\n\t")


def printable(path: str | os.PathLike) -> str:
    """Return a path as valid text of one line, as classes and pictures are called: bytes that are not UTF-8 become
    `\\xff`, line breaks and whatever else `shown` writes out `?`. utils.cc of the C++ program has the same.
    """
    return _without_controls(os.fsencode(path).decode("utf-8", "backslashreplace"), lambda _: "?")


def _without_controls(text: str, instead: Callable[[str], str], allowed: str = "") -> str:
    return "".join(letter if letter.isprintable() or letter in allowed else instead(letter) for letter in text)
