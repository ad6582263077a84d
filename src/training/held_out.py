"""A part of the training data held out (`val_split`): chosen once, kept in each checkpoint, found again by contents."""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from src.datasets.contents import content_hashes
from src.datasets.hold_out import hold_out
from src.datasets.source import Source
from src.model_utils.group import ALONE, Group
from src.utils.checkpoint import Checkpoint
from src.utils.errors import ReportedError, UsageError
from src.utils.logging import get_logger

KEY = "val_split"  # the entry in a checkpoint


@dataclass(frozen=True)
class Split:
    """Which pictures are held out, by the hashes of their contents (see `content_hashes`), uint64, sorted."""

    share: float
    seed: int
    held_out: np.ndarray

    def to_metadata(self) -> dict[str, object]:
        """The entry of a checkpoint that `split_of` reads."""
        text = base64.b64encode(self.held_out.astype("<u8").tobytes()).decode()
        return {"share": self.share, "seed": self.seed, "held_out": text}


def split_of(checkpoint: Checkpoint | None) -> Split | None:
    """What a checkpoint says is held out, None for nothing. Raises ReportedError for an entry that is none."""
    values = checkpoint.metadata.get(KEY) if checkpoint else None
    if values is None:
        return None
    try:
        return _split_from(values)
    except (TypeError, KeyError, ValueError, binascii.Error) as error:
        raise ReportedError(
            f"{checkpoint.path} carries a {KEY} that train.py does not write; use another copy"
        ) from error


def split_of_all(checkpoints: Sequence[Checkpoint]) -> Split | None:
    """What all of `checkpoints` say is held out. Raises ReportedError when one says otherwise: it has been trained on
    pictures that the others have never seen.
    """
    first = checkpoints[0]
    for other in checkpoints:
        if other.metadata.get(KEY) != first.metadata.get(KEY):
            raise ReportedError(
                f"{other.path} was not trained with the same pictures held out (val_split) as {first.path}; evaluate "
                "them one at a time"
            )
    return split_of(first)


def _split_from(values: Mapping[str, object]) -> Split:
    share, seed = values["share"], values["seed"]
    held_out = np.frombuffer(base64.b64decode(values["held_out"], validate=True), "<u8").astype(np.uint64)
    if type(share) not in (int, float) or not 0 < share < 1 or type(seed) is not int or not len(held_out):
        raise ValueError
    return Split(float(share), seed, np.unique(held_out))


def split_data(
    source: Source, before: Split | None, *, share: float, seed: int, workers: int, group: Group = ALONE
) -> tuple[Source, Source, Split]:
    """Part `source` into what is trained on and what is held out: as `before`, else a new choice (see `hold_out`).

    The master reads all pictures; the others take its choice. Collective. Raises ReportedError on all ranks when
    nothing can be held out, when a class of a set with one label a picture has pictures on one side only, or when a
    picture cannot be read.
    """
    if before and before.share != share:
        raise UsageError(f"val_split is {share:g}, but the run holds out {before.share:g} of its data; leave it out")

    def choose() -> str:
        contents = content_hashes(source, workers)
        chosen = before or _new_split(source, contents, share, seed)
        places = np.flatnonzero(np.isin(contents, chosen.held_out))
        copies = len(contents) - len(np.unique(contents))
        return json.dumps({"split": chosen.to_metadata(), "held_out": places.tolist(), "copies": copies})

    shared = json.loads(group.from_master(choose))
    split = _split_from(shared["split"])
    places = _in(source, np.array(shared["held_out"], np.int64))
    training = source.subset(np.setdiff1d(np.arange(len(source)), places))
    if group.is_master:
        together = f"{shared['copies']} copies of others"
        if source.groups is not None:
            together += f" and {len(np.unique(source.groups[source.groups >= 0]))} groups"
        get_logger().info(
            "held out %d of %d pictures (val_split %g, seed %d), by their contents; %s stay on one side",
            len(places), len(source), split.share, split.seed, together,
        )  # fmt: skip
    return training, source.subset(places), split


def with_own_data(run_config: object, split: Split | None) -> object:
    """`run_config`, a checkpoint's, as of a run that was evaluated on its training data: there lies what it held out.

    Unchanged when nothing was held out, or other data were evaluated on.
    """
    if split is None or not isinstance(run_config, Mapping) or run_config.get("eval_data_dir"):
        return run_config
    return {**run_config, "eval_data_dir": run_config.get("train_data_dir", "")}


def held_out_again(
    source: Source, split: Split, workers: int, group: Group = ALONE, *, is_own: bool, rest: bool = False
) -> Source:
    """The pictures of `source` that `split` holds out, or the `rest`. is_own: these are the data that were split.

    Otherwise `source` may be other data, which are returned whole unless most of the held-out pictures are among them:
    then they are the same folder somewhere else. Collective. Raises ReportedError when none is there.
    """

    def choose() -> str:
        contents = content_hashes(source, workers)
        found = len(np.intersect1d(contents, split.held_out))
        return json.dumps({"found": found, "places": np.flatnonzero(np.isin(contents, split.held_out)).tolist()})

    shared = json.loads(group.from_master(choose))
    missing = len(split.held_out) - shared["found"]
    if not is_own and 2 * shared["found"] <= len(split.held_out):
        return source
    if is_own and shared["found"] == 0:
        raise ReportedError(
            f"{source.origin} holds none of the {len(split.held_out)} pictures that the run held out (val_split "
            f"{split.share:g}); give the data with --eval_data_dir"
        )
    places = _in(source, np.array(shared["places"], np.int64))
    if rest:
        return source.subset(np.setdiff1d(np.arange(len(source)), places))
    held_out = source.subset(places)
    if group.is_master:
        get_logger().info("held out as in training: %d of %d pictures of %s", len(held_out), len(source), source.origin)
        if missing:
            get_logger().warning("%d of the pictures that the run held out are not in %s", missing, source.origin)
    return held_out


def _new_split(source: Source, contents: np.ndarray, share: float, seed: int) -> Split:
    chosen = hold_out(source.labels, contents, source.groups, share, seed)
    together = "groups" if source.groups is not None else "different pictures"
    if not chosen.any() or chosen.all():
        raise ReportedError(
            f"val_split {share:g} holds out {int(chosen.sum())} of the {len(source)} pictures of {source.origin}, "
            f"expected some on both sides; give more {together}, or --eval_data_dir"
        )
    if source.labels.ndim == 1:
        counts = np.bincount(source.labels)
        lacks = (counts > 0) & (np.bincount(source.labels[chosen], minlength=len(counts)) == 0)
        if lacks.any():
            first = int(np.flatnonzero(lacks)[0])
            raise ReportedError(
                f"val_split {share:g} leaves {int(lacks.sum())} classes without a held-out picture, first "
                f"{source.class_names[first]!r} with {counts[first]} pictures, expected two or more {together} of each "
                "class; add pictures, leave the class out, or give --eval_data_dir"
            )
    return Split(share, seed, np.unique(contents[chosen]))


def _in(source: Source, places: np.ndarray) -> np.ndarray:
    """`places`, which another rank has found. Raises ReportedError when this rank has other data."""
    if len(places) and places.max() >= len(source):
        raise ReportedError(
            f"{source.origin} holds fewer pictures here than on rank 0 ({len(source)}); give all hosts the same"
        )
    return places
