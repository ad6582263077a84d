"""What a data set's pictures, labels and groups have that would spoil training, or that one should know."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from src.datasets.class_names import some
from src.datasets.contents import shared_groups
from src.datasets.look import Looks
from src.datasets.near_duplicates import near_duplicates
from src.datasets.source import Source

FEW, UNEVEN = 10, 10.0  # pictures of a class; times that the largest class is larger than the smallest


@dataclass
class Finding:
    """One kind of thing that was found. pictures: numbers of pictures, or pairs of them, over both sets together.

    spoils: training or its evaluation would be wrong because of it.
    """

    kind: str
    text: str
    spoils: bool
    pictures: list[tuple[int, ...]] = field(default_factory=list)


@dataclass
class Both:
    """The training set and, if there is one, the held-out set behind it, as one row of pictures."""

    sources: list[Source]
    looks: Looks

    def place(self, i: int) -> tuple[int, int]:
        """The set of picture `i`, 0 or 1, and its number there."""
        first = len(self.sources[0])
        return (0, i) if i < first else (1, i - first)

    def name(self, i: int) -> str:
        """Its name for people."""
        part, at = self.place(i)
        return self.sources[part].image_name(at)

    def label(self, i: int) -> tuple[str, ...]:
        """The names of its classes."""
        part, at = self.place(i)
        source, label = self.sources[part], self.sources[part].labels[at]
        chosen = np.flatnonzero(label == 1) if source.is_multilabel else [label]
        return tuple(source.class_names[int(k)] for k in chosen)


def joined(looks: list[Looks]) -> Looks:
    """The looks of both sets, one behind the other."""
    arrays = [np.concatenate([getattr(one, name) for one in looks]) for name in _ARRAYS]
    offsets = np.cumsum([0, *(len(one.content) for one in looks)])
    both = Looks(*arrays)
    for one, offset in zip(looks, offsets, strict=False):
        both.odd |= {i + int(offset): text for i, text in one.odd.items()}
        both.unreadable |= {i + int(offset): text for i, text in one.unreadable.items()}
    return both


_ARRAYS = ("content", "perceptual", "thumbnails", "sizes", "mean", "square")


def findings(both: Both) -> list[Finding]:
    """Everything that was found, what spoils training first."""
    found = [*_unreadable(both), *_duplicates(both), *_near(both), *_groups(both), *_classes(both), *_odd(both)]
    return sorted(found, key=lambda one: not one.spoils)


def _unreadable(both: Both) -> list[Finding]:
    bad = sorted(both.looks.unreadable)
    return [Finding("unreadable", f"{len(bad)} pictures cannot be read: {both.looks.unreadable[bad[0]]}", True,
                    [(i,) for i in bad])] if bad else []  # fmt: skip


def _duplicates(both: Both) -> list[Finding]:
    usable = np.flatnonzero(both.looks.usable)
    order = usable[np.argsort(both.looks.content[usable], kind="stable")]
    contents = both.looks.content[order]
    within, across, contrary = [], [], []
    for group in np.split(order, np.flatnonzero(np.diff(contents)) + 1):
        first = int(group[0])
        for i in map(int, group[1:]):
            if both.place(i)[0] != both.place(first)[0]:
                across.append((first, i))
            else:
                within.append((first, i))
            if both.label(i) != both.label(first):
                contrary.append((first, i))
    return [
        *_pairs("leak", "{} held-out pictures are training pictures too, byte for byte", across, True),
        *_pairs("contrary", "{} pictures are the same file as another one with another label", contrary, True),
        *_pairs("duplicate", "{} pictures are copies of another one in their set", within, False),
    ]


def _near(both: Both) -> list[Finding]:
    pairs = [(int(i), int(j)) for i, j in near_duplicates(both.looks)]
    across, within = [], []
    for pair in pairs:
        (within if both.place(pair[0])[0] == both.place(pair[1])[0] else across).append(pair)
    contrary = [pair for pair in pairs if both.label(pair[0]) != both.label(pair[1])]
    return [
        *_pairs("near leak", "{} pairs of a training and a held-out picture look the same", across, False),
        *_pairs("near contrary", "{} pairs of pictures look the same and have different labels", contrary, False),
        *_pairs("near duplicate", "{} pairs of pictures of one set look the same", within, False),
    ]


def _pairs(kind: str, text: str, pairs: list[tuple[int, int]], spoils: bool) -> list[Finding]:
    return [Finding(kind, text.format(len(pairs)), spoils, pairs)] if pairs else []


def _groups(both: Both) -> list[Finding]:
    shared, count = shared_groups(*both.sources) if len(both.sources) == 2 else (0, 0)
    if not shared:
        return []
    return [Finding("group leak", f"{shared} groups are on both sides, with {count} held-out pictures", True)]


def _classes(both: Both) -> list[Finding]:
    found = []
    training = both.sources[0]
    counts = class_counts(training)
    filled = [name for name, count in zip(training.class_names, counts, strict=True) if count]
    if len(filled) < 2 and not training.is_multilabel:
        found.append(Finding("one class", f"all training pictures are of one class: {some(filled)}", True))
    for source in both.sources[1:]:
        unknown = [
            name for name, count in zip(source.class_names, class_counts(source), strict=True)
            if count and name not in training.class_names
        ]  # fmt: skip
        if unknown:
            text = f"{len(unknown)} classes of the held-out data are not in the training data: {some(unknown)}"
            found.append(Finding("unknown class", text, True))
    empty = [name for name, count in zip(training.class_names, counts, strict=True) if not count]
    few = [name for name, count in zip(training.class_names, counts, strict=True) if 0 < count < FEW]
    if empty:
        found.append(Finding("empty class", f"{len(empty)} classes have no training picture: {some(empty)}", False))
    if few:
        found.append(Finding("few", f"{len(few)} classes have fewer than {FEW} training pictures: {some(few)}", False))
    some_counts = counts[counts > 0]
    if len(some_counts) > 1 and some_counts.max() >= UNEVEN * some_counts.min():
        ratio = some_counts.max() / some_counts.min()
        text = (
            f"the largest class has {ratio:.0f} times as many training pictures as the smallest; try --class_weights "
            "auto or --balanced_sampling, and --best_metric macro_f1"
        )
        found.append(Finding("uneven", text, False))
    return found


def class_counts(source: Source) -> np.ndarray:
    """Pictures of each class, int64 (classes,)."""
    if source.is_multilabel:
        return (source.labels == 1).sum(0)
    return np.bincount(source.labels, minlength=len(source.class_names))


def _odd(both: Both) -> list[Finding]:
    kinds = Counter(text for texts in both.looks.odd.values() for text in texts)
    return [
        Finding("odd", f"{count} pictures are {text}", False, [(i,) for i, of in both.looks.odd.items() if text in of])
        for text, count in sorted(kinds.items())
    ]
