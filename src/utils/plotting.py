"""Pictures with other people's words in them: no mathematics read into a `$`, and letters instead of boxes."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from src.utils.errors import ReportedError
from src.utils.files import write_atomically
from src.utils.logging import get_logger


def write_picture(path: Path, draw: Callable[[Path], None]) -> None:
    """Have `draw` write the PNG `path` in one step. What cannot be drawn is a warning: the numbers are elsewhere.

    Raises ReportedError when the disk refuses.
    """
    try:
        write_atomically(path, draw)
    except (ReportedError, MemoryError):
        raise
    except Exception as error:  # matplotlib's and its fonts' are of any kind
        get_logger().warning("%s could not be drawn (%s: %.200s)", path.name, type(error).__name__, error)


@contextmanager
def words(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """What to write in a picture drawn inside the `with` for `texts`, in this order.

    These are the texts themselves, in installed fonts that have their letters; where there are none, their numbers.
    """
    import matplotlib

    letters = {letter for text in texts for letter in text if not letter.isspace()}
    families = families_with(frozenset(letters))
    shown = list(texts) if families is not None else [str(number) for number in range(len(texts))]
    with (
        warnings.catch_warnings(),
        matplotlib.rc_context({"text.parse_math": False, "font.family": families or ["sans-serif"]}),
    ):
        # Of Arabic and the like: its letters are there, side by side.
        warnings.filterwarnings("ignore", "Matplotlib currently does not support .* natively")
        yield shown


@cache
def families_with(letters: frozenset[str]) -> list[str] | None:
    """Font families that have all `letters` between them, the usual one first; None, with a line, where none have."""
    families, missing = ["sans-serif"], _missing(_usual_font(), letters)
    for name, file in _other_fonts() if missing else ():
        left = _missing(file, missing)
        if len(left) < len(missing):
            families.append(name)
            missing = left
        if not missing:
            break
    if missing:
        get_logger().info(
            "no installed font has %.20s: pictures show the numbers of the classes; install one, such as Noto Sans CJK",
            "".join(sorted(missing)),
        )
        return None
    return families


def _missing(file: str, letters: frozenset[str]) -> frozenset[str]:
    from matplotlib.font_manager import get_font

    try:
        font = get_font(file)
        return frozenset(letter for letter in letters if not font.get_char_index(ord(letter)))
    except (OSError, RuntimeError, ValueError):  # a damaged font
        return letters


def _usual_font() -> str:
    from matplotlib import font_manager

    return font_manager.findfont(font_manager.FontProperties(family=["sans-serif"]))


@cache
def _other_fonts() -> tuple[tuple[str, str], ...]:
    """Family and file of the installed upright fonts of usual weight."""
    from matplotlib.font_manager import fontManager

    found = {
        entry.name: entry.fname
        for entry in fontManager.ttflist
        # Last Resort has a box for every letter.
        if entry.style == "normal" and entry.weight in (400, "normal") and not entry.name.startswith("Last Resort")
    }
    return tuple(sorted(found.items()))
