"""JSON from files that nobody vouches for."""

import json

_MOST = 2**63


def parse_json(text: str | bytes) -> object:
    """The value of a JSON text.

    Raises ValueError for what is none, is nested too deeply, or has an integer of more than 64 bits: we write no such
    number, and it would overflow later, where it becomes a float or a size.
    """
    try:
        return json.loads(text, parse_int=_parse_int)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _parse_int(digits: str) -> int:
    value = int(digits[:30])  # int() refuses thousands of digits with advice for programmers
    if len(digits) > 30 or not -_MOST <= value < _MOST:
        raise ValueError(f"the number {digits:.20}... is out of range")
    return value
