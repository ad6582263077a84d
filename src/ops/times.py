"""Where a step's time goes: what the operators of `cpp/operators.cc` say that they have taken."""

import ctypes

PARTS = {  # and what the names of a part's operators begin with
    "stem": b"stem_",
    "dense blocks": b"block_",
    "transitions": b"transition_",
    "final norm and pool": b"final_",
    "optimizer": b"sgd_",
}


def seconds_by_part(library: str) -> dict[str, float]:
    """Seconds that the operators of each part have taken in this process since the library was loaded."""
    operator_seconds = ctypes.CDLL(library).operator_seconds
    operator_seconds.restype = ctypes.c_double
    return {part: operator_seconds(prefix) for part, prefix in PARTS.items()}
