"""Where a step's time goes: what the operators of `cpp/operators.cc` say that they have taken."""

import ctypes

PARTS = {  # and what the names of a part's operators begin with
    "stem": "stem_",
    "dense blocks": "block_",
    "transitions": "transition_",
    "final norm and pool": "final_",
    "optimizer": "sgd_",
}


def seconds_by_part(library: str) -> dict[str, float]:
    """Seconds that the operators of each part have taken in this process since the library was loaded."""
    return {part: seconds_of(library, prefix) for part, prefix in PARTS.items()}


def seconds_of(library: str, prefix: str) -> float:
    """The same of the operators whose names begin so."""
    operator_seconds = ctypes.CDLL(library).operator_seconds
    operator_seconds.restype = ctypes.c_double
    return operator_seconds(prefix.encode())
