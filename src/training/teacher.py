"""Distillation: a trained network answers the same images, and its probabilities are learnt beside the labels."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

import mindspore as ms
from mindspore import nn, ops

from src.model_utils.group import Group
from src.network.architecture import Architecture
from src.training.model_card import ModelCard, model_card_of, training_input_of
from src.utils.checkpoint import Checkpoint, load_checkpoint, load_weights
from src.utils.errors import ReportedError, UsageError
from src.utils.files import sha256_of

ENTRY = "teacher"  # of a checkpoint: the SHA-256 of the teacher's file, which is not in it
PREFIX = "teacher."  # of its parameters' names


class Teacher(nn.Cell):
    """Images (N, C, H, W) -> logits (N, K) of a network in inference mode, whatever the step around it is set to, and
    without gradients.
    """

    def __init__(self, network: nn.Cell) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        for parameter in network.get_parameters():
            parameter.requires_grad = False
            parameter.name = PREFIX + parameter.name  # those of one graph need names of their own
        self.set_train(False)

    def add_flags_recursive(self, **flags):
        """See nn.Cell; it is how set_train reaches the cells inside."""
        return super().add_flags_recursive(**{name: value and name != "training" for name, value in flags.items()})

    def construct(self, images):
        """See the class."""
        return ops.stop_gradient(self.network(images).astype(ms.float32))


@dataclass(frozen=True)
class TeacherFile:
    """checkpoint: None on ranks other than the master."""

    path: str
    checkpoint: Checkpoint | None
    architecture: Architecture
    sha256: str

    def build(self, build: Callable[[Architecture], nn.Cell], group: Group) -> Teacher:
        """The network that `build` makes of its architecture, with its weights on every rank."""
        network = build(self.architecture)
        if self.checkpoint:
            load_weights(network, self.checkpoint)
        teacher = Teacher(network)
        group.share_parameters(list(teacher.get_parameters()))
        return teacher


def open_teacher(path: str, student: ModelCard, resumed: Checkpoint | None, group: Group) -> TeacherFile | None:
    """The checkpoint at `path`, None for the empty path; the same on every rank, though the master alone reads it.

    student: what is to learn from it. resumed: the checkpoint whose run goes on. Raises UsageError when the two
    networks have other classes or another input, ReportedError when it is not the file that the run began with.
    """
    found = None

    def find() -> str:
        nonlocal found
        found = load_checkpoint(path)
        card = replace(model_card_of(found), preprocessing=training_input_of(found))
        _require_same(path, card, student)
        digest = sha256_of(found.path)
        _require_as_before(path, digest, resumed)
        return json.dumps({"architecture": card.architecture.to_dict(), "sha256": digest})

    if not path:
        return None
    said = json.loads(group.from_master(find))
    return TeacherFile(path, found, Architecture.from_dict(said["architecture"]), said["sha256"])


def _require_same(path: str, teacher: ModelCard, student: ModelCard) -> None:
    """Raise UsageError unless both see the same images and answer the same question with the same classes."""
    if teacher.task != student.task:
        several, one = "several labels a picture", "one class a picture"
        found, own = (several, one) if teacher.task == "multilabel" else (one, several)
        raise UsageError(
            f"teacher {path} answers with {found}, expected {own} as in the data; take a teacher that was trained on "
            "such data, or leave --teacher out"
        )
    if teacher.class_names != student.class_names:
        own, other = (f"{len(names)} ({', '.join(names[:3])[:80]}, ...)" for names in
                      (student.class_names, teacher.class_names))  # fmt: skip
        raise UsageError(
            f"teacher {path} has the classes {other}, expected those of the data, {own}, in this order; train a "
            "teacher on these data"
        )
    own, other = student.preprocessing.to_dict(), teacher.preprocessing.to_dict()
    differ = [key for key in own if own[key] != other.get(key)]
    if differ:
        shown = ", ".join(f"{key} {other.get(key)} instead of {own[key]}" for key in differ)
        raise UsageError(
            f"teacher {path} takes other input than this run's network: {shown}; both see the same images, so train "
            "this one as the teacher was, or take another teacher"
        )


def _require_as_before(path: str, digest: str, resumed: Checkpoint | None) -> None:
    before = resumed.metadata.get(ENTRY) if resumed else None
    if before is not None and before != digest:
        raise ReportedError(
            f"teacher {path} is not the file that the run was trained with: its SHA-256 is {digest}, expected "
            f"{before!r:.80}; give the right one with --teacher"
        )
