"""Pictures that a text file names in several lines: each is counted as often as it is named."""

from collections.abc import Callable

import numpy as np


def repeated(keys: np.ndarray, labels: np.ndarray, name: Callable[[int], str]) -> tuple[str, ...]:
    """A remark about pictures whose `keys`, int64 (n,), hashes of their paths, are those of an earlier line.

    labels: as in `Source`. name(i) is for people. Empty when every line names another picture.
    """
    ordered = np.sort(keys)
    if not (ordered[1:] == ordered[:-1]).any():
        return ()
    order = np.argsort(keys, kind="stable")
    again = keys[order[1:]] == keys[order[:-1]]
    lines, before = order[1:][again], order[:-1][again]
    others = labels[lines] != labels[before]
    differ = int((others.any(1) if others.ndim > 1 else others).sum())
    contrary = f", {differ} of them with another label" if differ else ""
    return (f"{len(lines)} lines name a picture of an earlier line{contrary}, first {name(int(lines.min()))}",)
