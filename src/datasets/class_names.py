"""The classes' names: one for each output of a network, and which output a data set's class belongs to.

A data set and a network are brought together by names, never by counts. Where there are none, or only numbers, `match`
says in words what it takes for granted.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from src.utils.errors import ReportedError

_NUMBER = re.compile(r"[0-9]{1,9}")
_SHOWN = 3  # classes in a message


@dataclass(frozen=True)
class Match:
    """Where a data set's classes are among a network's.

    outputs: int32 (classes of the data,): the number of the network's output for each.
    class_names: one for each of the network's outputs; those of the data where the network's say nothing.
    absent: the network's classes that the data do not have.
    guess: a sentence where nothing but the order connects the two, else empty.
    """

    outputs: np.ndarray
    class_names: tuple[str, ...]
    absent: tuple[str, ...] = ()
    guess: str = ""


@dataclass(frozen=True)
class Wording:
    """How an error calls the data, by place and by kind, and their classes, and what its sentence ends with."""

    place: str
    kind: str = "the data set"
    noun: str = "classes"
    advice: str = ""


def match(own: Sequence[str], known: Sequence[str], wording: Wording, *, numbered: bool = False) -> Match:
    """Find the classes `own` of a data set among the classes `known` of a network.

    By name, whatever the order and the Unicode form (NFC); by value where both are numbers (`07` is 7). The classes of
    a `numbered` data set are the numbers of outputs, unless the network's names are numbers themselves. A network
    whose classes are unnamed takes numbers as numbers, and names in their order if there are as many.
    Raises ReportedError for a class that the network does not know.
    """
    used = used_class_names(known)
    fillers = tuple(known[len(used) :])
    if numbered and not are_numbers(used):
        outputs = _by_number(own, range(len(used)), wording)
        found = Match(outputs, used, guess="" if are_unnamed(used) else _numbered_guess(wording.place, used))
    elif are_unnamed(used) and not set(own) <= set(used):
        found = _match_unnamed(own, used, wording)
    else:
        found = _match_names(own, used, wording)
    return Match(found.outputs, found.class_names + fillers, found.absent, found.guess)


def are_numbers(names: Sequence[str]) -> bool:
    """Tell whether these names are numbers, no two of the same value."""
    return all(_NUMBER.fullmatch(name) for name in names) and len({int(name) for name in names}) == len(names)


def in_order(names: Sequence[str]) -> list[str]:
    """Sorted: by value when all are numbers, else by name."""
    return sorted(names, key=int) if are_numbers(names) else sorted(names)


def require_distinct(names: Sequence[str], what: str) -> None:
    """Raise ReportedError when two names look the same: nobody could tell what such a class is."""
    twice = [name for name, count in Counter(map(normalised, names)).items() if count > 1]
    if twice:
        raise ReportedError(
            f"{what} has {Counter(map(normalised, names))[twice[0]]} classes whose names look the same, {twice[0]!r}; "
            "rename all but one of them"
        )


def fill_class_names(class_names: tuple[str, ...], num_classes: int) -> tuple[str, ...]:
    """One name for each output of the network: the data set's, then `unused_N` for outputs it has no class for.

    num_classes 0 means as many as the data set has. Raises ReportedError when the data set has more, or a class whose
    name could be taken for such an output.
    """
    if num_classes and len(class_names) > num_classes:
        raise ReportedError(
            f"num_classes is {num_classes}, but the data set has {len(class_names)} classes; "
            f"set --num_classes {len(class_names)}, or 0 for as many as there are"
        )
    filled = class_names + tuple(f"unused_{i}" for i in range(len(class_names), num_classes))
    taken = set(class_names) & set(filled[len(class_names) :])
    if taken or used_class_names(filled) != class_names:
        name = min(taken) if taken else class_names[-1]
        raise ReportedError(
            f"the data set has a class {name!r}, which is what an output without a class is called; rename it"
        )
    return filled


def used_class_names(class_names: Sequence[str]) -> tuple[str, ...]:
    """The reverse of `fill_class_names`: the names of the data set's own classes."""
    used = len(class_names)
    while used and class_names[used - 1] == f"unused_{used - 1}":
        used -= 1
    return tuple(class_names[:used])


def is_list_of_names(value: object) -> bool:
    """Tell whether `value`, from a file that nobody vouches for, is a list of names that can be printed and written."""
    return isinstance(value, list) and all(isinstance(name, str) and name.isprintable() for name in value)


def unnamed_classes(num_classes: int) -> tuple[str, ...]:
    """Names for weights that come without any: class_0, class_1, ..."""
    return tuple(f"class_{i}" for i in range(num_classes))


def are_unnamed(class_names: Sequence[str]) -> bool:
    """Tell whether these are the names of `unnamed_classes`."""
    return tuple(class_names) == unnamed_classes(len(class_names))


def normalised(name: str) -> str:
    """What two spellings of one name share: macOS stores `ü` as two characters, others as one."""
    return unicodedata.normalize("NFC", name)


def some(names: Sequence[str]) -> str:
    """The first few of many names, for a message."""
    return ", ".join(map(repr, names[:_SHOWN])) + (", ..." if len(names) > _SHOWN else "")


def _match_names(own: Sequence[str], used: Sequence[str], wording: Wording) -> Match:
    if are_numbers(own) and are_numbers(used):
        outputs = _by_number(own, map(int, used), wording)
    else:
        keys, known = ([normalised(name) for name in names] for names in (own, used))
        outputs = _look_up(keys, known, own, used, wording)
    taken = set(outputs.tolist())
    return Match(outputs, tuple(used), tuple(name for i, name in enumerate(used) if i not in taken))


def _match_unnamed(own: Sequence[str], used: Sequence[str], wording: Wording) -> Match:
    guess = ""
    if are_numbers(own) and max(map(int, own)) < len(used):
        outputs = np.array([int(name) for name in own], np.int32)
    elif len(own) != len(used):
        raise _too_many(len(own), used, wording)
    else:
        outputs = np.arange(len(own), dtype=np.int32)
        guess = (
            f"the network's {len(used)} classes have no names, so those of {wording.place} are taken in their order, "
            f"which is a guess: {some(own)}; give their names with convert_weights --class_names"
        )
    names = [f"unused_{i}" for i in range(len(used))]
    for name, output in zip(own, outputs, strict=True):
        names[output] = name
    return Match(outputs, tuple(names), (), guess)


def _by_number(own: Sequence[str], numbers: Sequence[int], wording: Wording) -> np.ndarray:
    known = list(numbers)
    return _look_up([int(name) for name in own], known, own, list(map(str, known)), wording)


def _look_up(keys: Sequence, known: Sequence, own: Sequence[str], used: Sequence[str], wording: Wording) -> np.ndarray:
    """For each of `keys` its place in `known`; `own` and `used` are how they are called in a message."""
    place: Mapping = {key: i for i, key in enumerate(known)}
    unknown = [name for name, key in zip(own, keys, strict=True) if key not in place]
    if unknown:
        counts_up = list(used) == [str(i) for i in range(len(used))]
        numbers = are_numbers(own)
        classes = 1 + max(map(int, own)) if numbers else len(own)
        if wording.noun == "classes" and classes > len(used) and (counts_up or not numbers):
            raise _too_many(classes, used, wording)
        raise ReportedError(
            f"{wording.place} has {len(unknown)} {wording.noun} that the network does not know, first {unknown[0]!r}; "
            f"it knows {len(used)} classes, first {some(used)}{wording.advice}"
        )
    if len(place) < len(known):
        count = Counter(known)
        twice = next((name for name, key in zip(own, keys, strict=True) if count[key] > 1), None)
        if twice:
            raise ReportedError(f"the network has several classes that are called {twice!r}; use another checkpoint")
    return np.array([place[key] for key in keys], np.int32)


def _too_many(classes: int, used: Sequence[str], wording: Wording) -> ReportedError:
    return ReportedError(
        f"{wording.kind} has labels of {classes} classes, but the network knows {len(used)}{wording.advice}"
    )


def _numbered_guess(what: str, used: Sequence[str]) -> str:
    return (
        f"the labels of {what} are taken for the numbers of the network's classes, counted from 0, which nothing "
        f"confirms: {some(used)}"
    )
