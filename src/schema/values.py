"""Text to a typed, checked value: the part that flags and YAML files share."""

import difflib
import math
import os
import re
import reprlib
from collections.abc import Iterable, Sequence

from src.schema.options import INT_MAX, INTS, Option, Value
from src.utils.errors import UsageError

# Narrower than Python's int() and float(), which also take 1_000, ٣, nan and infinity.
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_BOOL = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_KIND = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    INTS: "whole numbers separated by commas, such as 150,225",
}
_short = reprlib.Repr()
_short.maxstring = 60


def parse_value(option: Option, text: str | Sequence[str], where: str) -> Value:
    """The value that `text` (a list's items, or a scalar) means for `option`.

    `where` names the flag, or the file, line and key, in the UsageError raised when it means none.
    """
    value = _convert(option, text)
    if value is None:
        raise UsageError(f"{where}: found {show(text)}, expected {expected(option)}")
    if option.choices and value not in option.choices:
        near = nearest(str(value), map(str, option.choices))
        advice = f"did you mean {near}?" if near else "choose one of them"
        raise UsageError(f"{where}: found {show(text)}, expected {expected(option)}; {advice}")
    numbers = value if option.type == INTS else (value,)
    if option.type in (int, INTS) and max(map(abs, numbers), default=0) > INT_MAX:
        raise UsageError(f"{where}: found {show(text)}, which is too large; expected at most {INT_MAX}")
    if not all(_within_bounds(option, number) for number in numbers):
        raise UsageError(f"{where}: found {show(text)}, which is out of range; expected {expected(option)}")
    return _from_home(value, where) if option.is_path else value


def expected(option: Option) -> str:
    """What an option accepts, in words: `a number of more than 0, such as 0.1`, `one of avg, max`."""
    if option.choices:
        return "one of " + ", ".join(map(str, option.choices))
    bounds = [("at least", option.ge), ("more than", option.gt), ("at most", option.le), ("less than", option.lt)]
    words = " and ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)
    words = f" of {words}" if words else ""
    if option.type == INTS:
        return f"{_KIND[INTS]}, each{words}"
    example = f", such as {option.default:g}" if option.type in (int, float) else ""
    return f"{_KIND[option.type]}{words}{example}"


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that `name` probably meant, cut short or misspelt; case, and - for _, do not count."""
    plain = _plain(name[:100])
    by_plain = {_plain(candidate): candidate for candidate in names}
    close = [candidate for candidate in by_plain if len(plain) > 2 and candidate.startswith(plain)]
    close += difflib.get_close_matches(plain, by_plain, n=1)
    return by_plain[close[0]] if close else None


def show(text: str | Sequence[str]) -> str:
    """`text` quoted for a message, its middle left out when long."""
    return _short.repr(text if isinstance(text, str) else list(text))


def _from_home(text: str, where: str) -> str:
    """The path `text` with ~ or ~user at its beginning as a shell has them."""
    path = os.path.expanduser(text)  # noqa: PTH111, a Path would change what else is in the text, which may be a URL
    if path.startswith("~"):
        name = text.partition("/")[0]
        raise UsageError(f"{where}: found {show(text)}, but {name} is no user's home; write ./{name} if it is a file")
    return path


def _convert(option: Option, text: str | Sequence[str]) -> Value | None:
    """The typed value, or None when `text` is not of the option's type."""
    if option.type == INTS:
        if isinstance(text, str):
            text = text.split(",") if text.strip() else []
        items = [_to_int(item) for item in text]
        return None if None in items else tuple(items)
    if not isinstance(text, str):
        return None
    if option.type is str:
        return None if "\0" in text else text
    if option.type is bool:
        return _BOOL.get(text.strip().lower())
    return _to_int(text) if option.type is int else _to_float(text)


def _to_int(text: str) -> int | None:
    text = text.strip()
    # int() refuses thousands of digits; what is that long is too large whatever its other digits are.
    return int(text[:20]) if _INT.fullmatch(text) else None


def _to_float(text: str) -> float | None:
    text = text.strip()
    if not _FLOAT.fullmatch(text) or not math.isfinite(float(text)):
        return None
    return float(text)


def _within_bounds(option: Option, number: Value) -> bool:
    return (
        (option.ge is None or number >= option.ge)
        and (option.gt is None or number > option.gt)
        and (option.le is None or number <= option.le)
        and (option.lt is None or number < option.lt)
    )


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")
