"""What every data set looks like once it is open."""

import hashlib
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from src.datasets.class_names import Wording, match
from src.datasets.preprocessing_choices import FILES
from src.utils.errors import ReportedError
from src.utils.logging import get_logger


@dataclass(frozen=True)
class Source:
    """A data set's pictures and labels, by index.

    labels: (n,) int32, each below len(class_names); of a multi-label set (n, classes) int8, 1 where a picture shows the
    class, 0 where not, -1 where nobody knows. form: what read(i) returns, FILES: a file's bytes, or DECODED: pixels,
    uint8 (H, W, 3); it raises ReportedError, naming the file, for a picture that cannot be used. image_name(i) is for
    people. origin: how to call the data set in a sentence. numbered: its labels are numbers that nobody has named.
    identity(): bytes that tell these pictures, in this order, from others. remarks: what is odd about the files on
    disk, in words. undecodable: how many pictures are of a kind that cannot be decoded, and the first of them. absent,
    guess: see `class_names.Match`; empty before `for_network`. noticed(): what the log should say once of the pictures
    read so far. groups: (n,) int64, pictures of one number belong together (a patient, a video), -1 to none; None for
    none at all. content(i): the bytes that make picture i the one it is, before any decoding, and content_size(i), how
    many they are, without reading them; None where those are `read`'s. state(): bytes that tell these files, as they
    are on disk now, from others and from themselves after a change; None where there are no files. kept: what caches
    have of the pictures further on their way, each by its `Stage` a function like `read` (see `as_kept`).
    """

    dataset: str
    class_names: tuple[str, ...]
    labels: np.ndarray
    form: str
    read: Callable[[int], np.ndarray]
    image_name: Callable[[int], str]
    origin: str = "the data set"
    numbered: bool = False
    identity: Callable[[], bytes] = bytes
    remarks: tuple[str, ...] = ()
    undecodable: tuple[int, str] = (0, "")
    noticed: Callable[[], list[str]] = list
    absent: tuple[str, ...] = ()
    guess: str = ""
    groups: np.ndarray | None = None
    content: Callable[[int], bytes] | None = None
    content_size: Callable[[int], int] | None = None
    state: Callable[[], bytes] | None = None
    kept: Mapping[Hashable, Callable[[int], np.ndarray]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def encoded(self) -> bool:
        """Whether pictures are files, whose bytes have to be decoded."""
        return self.form == FILES

    @property
    def is_multilabel(self) -> bool:
        """Whether a picture may be of several classes, or of none."""
        return self.labels.ndim == 2

    @property
    def task(self) -> str:
        """`multilabel` or `single`."""
        return "multilabel" if self.is_multilabel else "single"

    def __getitem__(self, i: int) -> tuple[np.ndarray, np.ndarray, np.int32]:
        return self.read(i), self.labels[i], np.int32(i)

    def subset(self, indices: np.ndarray) -> "Source":
        """Return the data set of only these images, renumbered from 0."""
        return replace(
            self,
            labels=self.labels[indices],
            read=lambda i: self.read(indices[i]),
            image_name=lambda i: self.image_name(indices[i]),
            identity=lambda: self.identity() + _digest(indices),
            groups=None if self.groups is None else self.groups[indices],
            content=self.content and (lambda i: self.content(indices[i])),
            content_size=self.content_size and (lambda i: self.content_size(indices[i])),
            state=self.state and (lambda: self.state() + _digest(indices)),
            kept={},
        )

    def for_network(self, class_names: tuple[str, ...], advice: str = "") -> "Source":
        """Return the data set with the labels and names of a network's outputs, `class_names` (see `match`).

        Raises ReportedError, which ends with `advice`, for a class that the network does not know.
        """
        # A list has every number up to its largest label; only those that occur have to be known.
        present = np.unique(self.labels) if self.numbered else np.arange(len(self.class_names))
        own = [self.class_names[i] for i in present]
        noun = "class folders" if self.dataset in ("folder", "imagenet") else "classes"
        wording = Wording(self.origin, f"the data set {self.dataset}", noun, advice)
        found = match(own, class_names, wording, numbered=self.numbered)
        if self.is_multilabel:  # what the data do not speak of is unknown
            labels = np.full((len(self), len(found.class_names)), -1, np.int8)
            labels[:, found.outputs] = self.labels
            return replace(self, labels=labels, class_names=found.class_names, absent=found.absent, guess=found.guess)
        outputs = np.zeros(len(self.class_names), np.int32)
        outputs[present] = found.outputs
        return replace(
            self,
            labels=outputs[self.labels],
            class_names=found.class_names,
            absent=() if self.numbered else found.absent,
            guess=found.guess,
        )

    def fingerprint(self) -> dict[str, int | str]:
        """How many pictures there are, and a hash of what they are, their order and their labels."""
        digest = hashlib.sha256(self.dataset.encode() + b"\0" + self.identity())
        digest.update(np.ascontiguousarray(self.labels, "i1" if self.is_multilabel else "<i4"))
        return {"images": len(self), "sha256": digest.hexdigest()}


def _digest(indices: np.ndarray) -> bytes:
    return hashlib.sha256(indices.astype("<i8").tobytes()).digest()


@contextmanager
def picture_named(source: Source, i: int) -> Iterator[None]:
    """Raise a ReportedError that names picture i for whatever is raised inside the `with`."""
    try:
        yield
    except Exception as error:  # Pillow's decoders raise whatever damaged bytes lead them to
        raise ReportedError(
            f"{source.image_name(i)} cannot be used: {error}; convert it to PNG, or leave it out"
        ) from error


def log_noticed(source: Source) -> None:
    """Say in the log what was noticed of the pictures that have been read."""
    for sentence in source.noticed():
        get_logger().warning(sentence)
