"""A training run's data: brought together by name with what it begins from, and the same as before when resumed.

A checkpoint keeps a fingerprint of the data, because its paths may lead to others: on another machine, or to another
project's folder.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src.datasets.class_names import fill_class_names, normalised, used_class_names
from src.datasets.contents import in_both, shared_groups
from src.datasets.reading import as_task
from src.datasets.source import Source
from src.datasets.usable import describe
from src.model_utils.group import Group
from src.training.held_out import KEY, Split, split_of
from src.training.model_card import class_names_of
from src.utils.checkpoint import RUN_CONFIG, Checkpoint
from src.utils.errors import ReportedError, UsageError
from src.utils.logging import get_logger


@dataclass(frozen=True)
class RunData:
    """What a run trains on and evaluates on, one name for each output of its network, and what a checkpoint keeps.

    is_new_held_out: an evaluation before the run was resumed was of other pictures. split: what of the training data
    is held out, None when nothing is.
    """

    training: Source
    held_out: Source | None
    class_names: tuple[str, ...]
    fingerprints: dict[str, dict]
    is_new_held_out: bool = False
    split: Split | None = None

    def to_metadata(self) -> dict[str, object]:
        """The entries of a checkpoint."""
        return {"data": self.fingerprints, **({KEY: self.split.to_metadata()} if self.split else {})}


def open_run_data(
    open_data: Callable[..., Source],
    train_data_dir: str,
    eval_data_dir: str,
    *,
    num_classes: int,
    is_asked_for: Callable[[str], bool],
    checkpoint: Checkpoint | None,
    pretrained_names: tuple[str, ...],
    is_master: bool,
    hold_out: Callable[[Source, Split | None], tuple[Source, Source, Split]] | None = None,
    workers: int = 1,
) -> RunData:
    """Open both data sets with `open_data` (`open_usable` of a kind of data); eval_data_dir may be empty.

    is_asked_for(key) tells whether the user gave the key. checkpoint: the run that is resumed. pretrained_names: of the
    outputs of the classifier that training begins with, none for a new one. hold_out: `split_data`, to part the
    training data. workers: threads that look for held-out pictures among the training ones. Raises ReportedError for
    data that are not the resumed run's, and for classes that are not the classifier's.
    """
    training = open_data(train_data_dir, split="train")
    if checkpoint:
        if is_master and _has_another_order(training, checkpoint):
            get_logger().warning(
                "the class folders of %s are sorted by their numbers now, as text when %s was saved: its epoch goes on "
                "with the same pictures in another order, not bit for bit as it would have",
                training.origin, checkpoint.path,
            )  # fmt: skip
        training = _as_before(training, checkpoint)
        class_names = training.class_names
        if is_asked_for("num_classes") and num_classes not in (0, len(class_names)):
            raise UsageError(
                f"num_classes is {num_classes}, but the run of {checkpoint.path} has {len(class_names)}; leave it out"
            )
    elif pretrained_names and len(pretrained_names) == (num_classes or len(training.class_names)):
        training = training.for_network(
            pretrained_names, "; give --reset_head true for a new classifier, or the data of train_pretrained's classes"
        )
        class_names = training.class_names
    else:  # of another number of classes: `load_weights` says so
        _refuse_forgotten_dataset(training, num_classes, is_asked_for)
        class_names = fill_class_names(training.class_names, num_classes)
        if training.is_multilabel:  # an output without a class is unknown in every picture
            training = training.for_network(class_names)
    filled = np.unique(training.labels)
    if training.is_multilabel:
        _require_both(training)
    elif len(filled) < 2:
        raise ReportedError(
            f"all {len(training)} training pictures of {training.origin} are of one class, "
            f"{class_names[filled[0]]!r}, so there is nothing to learn; expected a folder or label for each of several"
        )
    held_out, is_new, split = None, False, None
    if hold_out:
        training, held_out, split = hold_out(training, split_of(checkpoint))
    fingerprints = {"train": training.fingerprint()}
    if eval_data_dir:
        held_out = as_task(open_data(eval_data_dir, split="eval"), training.task).for_network(class_names)
    if held_out:
        fingerprints["eval"] = held_out.fingerprint()
    saved = _saved(checkpoint)
    _require_same(saved.get("train"), fingerprints["train"], training.origin, "train_data_dir", checkpoint)
    if held_out and "eval" in saved and saved["eval"] != fingerprints["eval"]:
        if not is_asked_for("eval_data_dir"):
            _require_same(saved["eval"], fingerprints["eval"], held_out.origin, "eval_data_dir", checkpoint)
        is_new = True
    elif held_out and checkpoint and "eval" not in saved and is_asked_for("eval_data_dir"):
        is_new = _was_evaluated_elsewhere(checkpoint, eval_data_dir)
    if is_master:
        _say(training, held_out, is_new)
        if held_out and eval_data_dir:
            _say_what_is_in_both(training, held_out, workers)
        if unused := len(class_names) - len(used_class_names(class_names)):
            get_logger().warning("%d of the network's %d outputs have no class", unused, len(class_names))
    return RunData(training, held_out, class_names, fingerprints, is_new, split)


def require_same_everywhere(group: Group, fingerprints: Mapping[str, Mapping], origin: str) -> None:
    """Raise ReportedError on all ranks when one of them has other data than the master: the parts that they see would
    not be those of one data set, and their counts of nothing.

    fingerprints: of this rank's data, by their part. origin: where they are. Collective.
    """
    if group.world_size == 1:
        return
    expected = json.loads(group.from_master(lambda: json.dumps(fingerprints)))
    if not group.any(int(expected != fingerprints)):
        return
    if expected == fingerprints:
        raise ReportedError("another rank has other data than rank 0, as its own message says; give all hosts the same")
    counts = [", ".join(f"{of['images']} {part}" for part, of in found.items()) for found in (fingerprints, expected)]
    raise ReportedError(
        f"{origin} on rank {group.rank} holds other data than on rank 0 ({counts[0]} pictures, there {counts[1]}; by "
        "their names, labels and contents); give all hosts the same"
    )


def absolute(path: str) -> str:
    """`path` as it leads to the same place from any folder; the empty path and `bundled` are no paths."""
    return path if path in ("", "bundled") else os.path.abspath(path)  # noqa: PTH100, links are kept


def _as_before(training: Source, checkpoint: Checkpoint) -> Source:
    advice = "; a run goes on with its own data; for others begin a new one with --train_pretrained --reset_head true"
    training = training.for_network(class_names_of(checkpoint), advice)
    if training.absent:
        raise ReportedError(
            f"{training.origin} lacks {len(training.absent)} classes of the run, first {training.absent[0]!r}{advice}"
        )
    return training


def _has_another_order(training: Source, checkpoint: Checkpoint) -> bool:
    """Whether a checkpoint without fingerprints, as older ones are, knows the classes of `training`, as it was opened,
    in another order: folders whose names are numbers were sorted as texts then, and with them the pictures.
    """
    before = [normalised(name) for name in used_class_names(class_names_of(checkpoint))]
    now = [normalised(name) for name in training.class_names]
    return "train" not in _saved(checkpoint) and before != now and sorted(before) == sorted(now)


def _require_both(training: Source) -> None:
    shows, shows_not = (training.labels == 1).any(0), (training.labels == 0).any(0)
    if not (shows & shows_not).any():
        raise ReportedError(
            f"no class of {training.origin} has training pictures that show it and others that do not, so there is "
            "nothing to learn; expected 1 and 0 for some class"
        )


def _refuse_forgotten_dataset(training: Source, num_classes: int, is_asked_for: Callable[[str], bool]) -> None:
    found = len(training.class_names)
    if found < num_classes and not is_asked_for("num_classes"):
        raise UsageError(
            f"found {found} classes in {training.origin}, expected the {num_classes} of the network's YAML file; give "
            f"--dataset folder for as many outputs as there are class folders, or --num_classes {num_classes} to have "
            "some without a class"
        )


def _saved(checkpoint: Checkpoint | None) -> Mapping[str, object]:
    """The fingerprints in a checkpoint; older ones have none."""
    saved = checkpoint.metadata.get("data") if checkpoint else None
    return saved if isinstance(saved, Mapping) else {}


def _was_evaluated_elsewhere(checkpoint: Checkpoint, eval_data_dir: str) -> bool:
    """For a checkpoint without a fingerprint of held-out data: whether its best accuracy is of data at another path."""
    progress, run_config = checkpoint.metadata.get("progress"), checkpoint.metadata.get(RUN_CONFIG)
    best = progress.get("best_score", progress.get("best_top1")) if isinstance(progress, Mapping) else None
    before = run_config.get("eval_data_dir") if isinstance(run_config, Mapping) else None
    return isinstance(best, float) and best >= 0 and not (isinstance(before, str) and absolute(before) == eval_data_dir)


def _require_same(saved: object, found: Mapping, origin: str, key: str, checkpoint: Checkpoint | None) -> None:
    if saved is None or saved == found:
        return
    before = saved.get("images") if isinstance(saved, Mapping) else None
    many = f"{found['images']} pictures" if before == found["images"] else f"{found['images']} pictures, not {before}"
    raise ReportedError(
        f"{origin} holds other data than {checkpoint.path} was trained with ({many}, by their names, labels and "
        f"contents); give the same with --{key}, or begin a new run with --train_pretrained"
    )


def _say(training: Source, held_out: Source | None, is_new: bool) -> None:
    describe(training, "train")
    if held_out is None:
        return
    describe(held_out, "eval")
    if is_new:
        get_logger().warning("the held-out pictures are others than before: the best accuracy is counted anew")


def _say_what_is_in_both(training: Source, held_out: Source, workers: int) -> None:
    if _are_the_same(training, held_out):
        get_logger().warning(
            "the held-out data %s are the training data: their accuracy says nothing about other pictures",
            held_out.origin,
        )
        return
    shared, theirs = shared_groups(training, held_out)
    if shared:
        get_logger().warning(
            "%d groups have training pictures and %d of the %d held-out pictures: their accuracy may say little about "
            "other groups", shared, theirs, len(held_out),
        )  # fmt: skip
    try:
        found = in_both(training, held_out, workers)
    except ReportedError as error:  # training stops there, or leaves it out
        get_logger().warning("held-out pictures were not looked for among the training pictures: %s", error)
        return
    if found is None:
        get_logger().info("too many pictures to look for held-out ones among them; python -m src.datasets.check does")
    elif len(found):
        get_logger().warning(
            "%d of the %d held-out pictures are training pictures too, first %s: their accuracy says nothing about "
            "other pictures", len(found), len(held_out), held_out.image_name(int(found[0])),
        )  # fmt: skip
    else:
        get_logger().info("none of the %d held-out pictures is a training picture too", len(held_out))


def _are_the_same(training: Source, held_out: Source) -> bool:
    if len(training) != len(held_out) or training.dataset in ("cifar10", "cifar100", "digits"):
        return False
    return Path(training.origin).resolve() == Path(held_out.origin).resolve() or (
        training.identity() == held_out.identity()
    )
