"""Checkpoints: written whole or not at all, checked when read, and carrying what they need to be used without flags.

A file is MindSpore's own `.ckpt` (protobuf, CRC at its end) with one more entry, a JSON text named METADATA_KEY:

    architecture    the network (see src.network.densenet.Architecture)
    preprocessing   how an image becomes its input (see src.datasets.preprocessing.Preprocessing)
    class_names     one name a class, in the order of the logits
    recipe          the resolved configuration of the run (RUN_CONFIG: the key is older than the name)
    progress        where training stands and what it needs to go on (see src.training.progress.Progress)
    weights         raw or ema: which of its weights are meant where nobody says it; only where it holds both
    versions        of MindSpore, NumPy and Python

A file without it is foreign (the model zoo's): it holds weights and nothing else. Nothing here unpickles, and MindSpore
is never given a file to read: see `src.utils.checkpoint_format`.
"""

import json
import logging
import platform
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import mindspore as ms
import numpy as np

from src.utils.checkpoint_arrays import (
    LARGEST_WEIGHT,
    Arrays,
    CheckpointFile,
    DamagedError,
    MissingError,
    reading_checkpoint,
)
from src.utils.checkpoint_format import read_text, scan
from src.utils.checkpoint_names import list_checkpoints, ranks_in
from src.utils.errors import ReportedError, UsageError
from src.utils.files import TEMPORARY_PREFIX, is_folder, write_atomically
from src.utils.logging import get_logger
from src.utils.outside import open_outside
from src.utils.strict_json import parse_json

METADATA_KEY = "densenet_metadata"
RUN_CONFIG = "recipe"
FORMAT_VERSION = 1
BEST_NAME = "best.ckpt"
RAW, EMA = "raw", "ema"  # the weights of the last update, and their average (src/optimizers/average.py)
_AVERAGED = "ema."  # how the names of the averages begin
_MOST_OPEN = 64  # files; a process may have 1024, often less

# What a training run saves besides weights and statistics: velocities, loss scaling and the dropout's random state
# here, the optimizer's own in the model zoo.
_TRAINING_ONLY = re.compile(
    r"moments\..*|ema\..*|ema_updates|.*\.random_state|loss_scale|good_steps|skipped_steps|learning_rate|momentum|global_step|epoch_num|step_num"
)


_VARIANCES = (".moving_variance", ".running_var")  # ours, PyTorch's
_LOSS_SCALE = "loss_scale"  # doubles as long as nothing overflows


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds. `metadata` is empty for a foreign file, `arrays` on ranks that have only heard of it."""

    path: Path
    arrays: Arrays
    metadata: Mapping[str, object]

    def weights(self, wanted: str = "auto") -> Arrays:
        """The network's parameters and running statistics, without the training state. wanted: see `chosen_weights`."""
        if self.chosen_weights(wanted) == EMA:
            return self.arrays.beginning_with(_AVERAGED)
        return self.arrays.only(lambda name: not _TRAINING_ONLY.fullmatch(name))

    @property
    def has_average(self) -> bool:
        """Whether it holds an average of the weights beside them."""
        return any(name.startswith(_AVERAGED) for name in self.arrays)

    def chosen_weights(self, wanted: str = "auto") -> str:
        """raw or ema; `auto` is what the file says, and raw where it says nothing.

        Raises UsageError when the average is wanted and there is none, ReportedError when the file says neither.
        """
        if wanted == "auto":
            wanted = self.metadata.get("weights", RAW)
            if wanted not in (RAW, EMA):
                raise ReportedError(
                    f"{self.path} carries weights that are neither {RAW} nor {EMA}; use another copy, or give --weights"
                )
        elif wanted == EMA and not self.has_average:
            raise UsageError(
                f"found weights {EMA}, but {self.path} holds no average of its weights, as a run without --ema_decay; "
                "leave --weights out"
            )
        return wanted

    def require(self, key: str) -> object:
        """The metadata entry `key`. Raises ReportedError when this file does not carry it."""
        if key not in self.metadata:
            raise ReportedError(
                f"{self.path} carries no {key}: it was not written by this project's train.py; "
                "use it with --train_pretrained or name the network and data set by flags"
            )
        return self.metadata[key]


def save_checkpoint(path: Path, parameters: Iterable[ms.Parameter], metadata: Mapping[str, object] | None) -> None:
    """Write `parameters` and `metadata` to `path` in one step (see `write_atomically`).

    metadata None writes a plain file, as the model zoo does: without it and, for older MindSpore, without the CRC.
    Raises ReportedError when the disk refuses; a file that was there before is then intact.
    """
    entries = list(parameters)
    write_atomically(path, lambda temporary: fill_checkpoint(temporary, entries, metadata))


def fill_checkpoint(path: Path, parameters: Iterable[ms.Parameter], metadata: Mapping[str, object] | None) -> None:
    """`save_checkpoint` into a file that nobody reads yet. Raises OSError."""
    added = {}
    if metadata is not None:
        text = json.dumps({"format": FORMAT_VERSION, "versions": _versions(), **metadata}, allow_nan=True)
        added = {"append_dict": {METADATA_KEY: text}, "crc_check": True}
    entries = [{"name": parameter.name, "data": parameter} for parameter in parameters]
    with quiet_mindspore():
        try:
            ms.save_checkpoint(entries, str(path), **added)
        except RuntimeError as error:  # MindSpore wraps the OSError of a full disk
            raise OSError(str(error)) from error


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Open a checkpoint of this project or of the MindSpore model zoo.

    Raises DamagedError when its content is no checkpoint, truncated or damaged, and ReportedError when it is missing,
    cannot be read, or is of a newer format.
    """
    path = Path(path)
    with reading_checkpoint(path):
        file = open_outside(path)
        entries, has_crc = scan(file)
        described = METADATA_KEY in entries
        text = read_text(file, entries[METADATA_KEY]) if described else ""
    arrays = Arrays(path, CheckpointFile(path, file), entries)
    if not described:
        return Checkpoint(path, arrays, {})
    if not has_crc:
        raise DamagedError(f"{path} has lost the checksum at its end: it is truncated; use an earlier checkpoint")
    try:
        metadata = parse_json(text)
        version = metadata["format"]
    except (ValueError, TypeError, KeyError) as error:
        raise DamagedError(f"{path} carries metadata that is not this project's JSON; use another copy") from error
    if version != FORMAT_VERSION:
        raise ReportedError(
            f"{path} has format {version!r:.60}, this release reads format {FORMAT_VERSION}; update the code"
        )
    return Checkpoint(path, arrays, metadata)


def checkpoints_to_evaluate(path: Path) -> list[Checkpoint]:
    """`path` itself, or all checkpoints in the folder `path`: by position, newest first, then the others by name.

    best.ckpt is left out when the checkpoint of the same position, and of the same weights, is there. One that went
    before it was opened is passed over; the last ones stay open (see `keep_last_open`). Raises ReportedError when there
    is none.
    """
    if not is_folder(path):
        return [load_checkpoint(path)]
    named = [found for rank in ranks_in(path) for found in list_checkpoints(path, rank)]
    others = sorted(p for p in path.glob("*.ckpt") if p not in named and not p.name.startswith(TEMPORARY_PREFIX))
    found = []
    for candidate in [*named, *others]:
        try:
            found.append(load_checkpoint(candidate))
        except MissingError:
            get_logger().warning("passing over %s: it was removed meanwhile", candidate)
        keep_last_open(found)
    if not found:
        runs = sorted({inner.parent for inner in path.glob("*/*.ckpt")})
        one = f", such as {runs[-1]}" if runs else ""
        raise ReportedError(f"{path} holds no .ckpt file; give a checkpoint or a folder of checkpoints{one}")
    positions = {_position(checkpoint) for checkpoint in found if checkpoint.path.name != BEST_NAME}
    return [c for c in found if c.path.name != BEST_NAME or _position(c) not in positions]


def keep_last_open(checkpoints: Sequence[Checkpoint | None]) -> None:
    """Close the file of the last but _MOST_OPEN of `checkpoints`, which come one by one, newest first.

    A run that trains in their folder removes the oldest first: those stay readable whatever becomes of their names.
    """
    if len(checkpoints) > _MOST_OPEN and (checkpoint := checkpoints[-_MOST_OPEN - 1]):
        checkpoint.arrays.close()


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files that a killed writer left in `folder`."""
    for path in folder.glob(TEMPORARY_PREFIX + "*"):
        with suppress(OSError):  # they are only in the way
            path.unlink()


def copy_checkpoint(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`, in one step."""
    write_atomically(target, lambda temporary: shutil.copyfile(source, temporary))


def load_weights(
    network: ms.nn.Cell, checkpoint: Checkpoint, *, reset_head: bool = False, weights: str = "auto"
) -> None:
    """Set every weight and statistic of `network` from `checkpoint`; training state is left alone in both.

    weights: raw, ema or auto, see `Checkpoint.chosen_weights`. With `reset_head` the classifier (`head.*`) keeps the
    network's own values, whatever the checkpoint holds.
    Raises ReportedError that lists by name whatever is missing, left over, of another shape or unusable; the network is
    then as it was.
    """
    wanted = {p.name: p for p in network.get_parameters() if not _TRAINING_ONLY.fullmatch(p.name)}
    given = checkpoint.weights(weights)
    if reset_head:
        wanted = {name: value for name, value in wanted.items() if not name.startswith("head.")}
        given = given.only(lambda name: not name.startswith("head."))
    _set_all(wanted, given, checkpoint.path, hint=_weights_hint(wanted, given))


def load_training_state(parameters: Iterable[ms.Parameter], checkpoint: Checkpoint) -> None:
    """Set all `parameters` of a training step (weights, statistics, velocities, loss scale) from `checkpoint`.

    Raises ReportedError, with nothing changed, when a name, a shape or a number does not fit.
    """
    wanted = {parameter.name: parameter for parameter in parameters}
    _set_all(
        wanted, checkpoint.arrays, checkpoint.path, hint="resume with the configuration that the run was started with"
    )


def misfits(wanted: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]]) -> str:
    """In words, how a file's `given` names and shapes differ from the network's `wanted` ones; empty when they fit."""
    missing = [name for name in wanted if name not in given]
    left_over = [name for name in given if name not in wanted]
    misfit = [
        f"{name} is {given[name]} in the file and {wanted[name]} in the network"
        for name in wanted
        if name in given and given[name] != wanted[name]
    ]
    return "; ".join(
        f"{what}: {_shorten(names)}"
        for what, names in (
            ("missing from it", missing),
            ("not in the network", left_over),
            ("of another shape", misfit),
        )
        if names
    )


def _position(checkpoint: Checkpoint) -> tuple:
    progress = checkpoint.metadata.get("progress")
    # As texts: what a damaged file holds instead of numbers need not be hashable.
    keys = ("epoch", "images")
    if not isinstance(progress, dict):
        return (checkpoint.path,)
    return *(str(progress.get(key)) for key in keys), str(checkpoint.metadata.get("weights"))


def _set_all(wanted: dict[str, ms.Parameter], given: Arrays, path: Path, *, hint: str) -> None:
    problems = misfits({name: tuple(parameter.shape) for name, parameter in wanted.items()}, given.shapes)
    if problems:
        raise ReportedError(f"{path} does not fit the network; {problems}; {hint}")
    values = {name: _converted(given[name], parameter, path) for name, parameter in wanted.items()}
    refuse_unusable(path, values)
    for name, parameter in wanted.items():
        parameter.set_data(ms.Tensor(values[name], parameter.dtype))


def _converted(value: np.ndarray, parameter: ms.Parameter, path: Path) -> np.ndarray:
    dtype = parameter.asnumpy().dtype
    if (value.dtype.kind == "f") != (dtype.kind in "fV"):  # V: bfloat16
        raise ReportedError(f"{path}: {parameter.name} has the type {value.dtype}, expected {dtype}; use another copy")
    with np.errstate(over="ignore"):  # an infinity is refused, with its name
        return value.astype(dtype, copy=False)


def refuse_unusable(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Raise ReportedError when one of `arrays` holds numbers that no trained network has.

    MindSpore's ReLU makes 0 of NaN, so that such a network would answer, and be counted.
    """
    problems = [f"{name} {found}" for name, value in arrays.items() if (found := _problem(name, value))]
    if problems:
        raise ReportedError(
            f"{path} holds numbers that no trained network has: {_shorten(problems, 3)}; use an earlier checkpoint or "
            "another copy"
        )


def _problem(name: str, value: np.ndarray) -> str:
    if not np.isfinite(value).all():
        return "has values that are not finite"
    if name != _LOSS_SCALE and value.size and max(value.max(), -value.min()) > LARGEST_WEIGHT:
        return f"has values beyond {LARGEST_WEIGHT:g}"
    return "has negative variances" if name.endswith(_VARIANCES) and (value < 0).any() else ""


def _weights_hint(wanted: Mapping[str, ms.Parameter], given: Arrays) -> str:
    shapes = given.shapes
    bodies_agree = all(
        shapes.get(name) == tuple(value.shape) for name, value in wanted.items() if not name.startswith("head.")
    )
    if bodies_agree and "head.fc.weight" in shapes:
        return "the class counts differ: to fine-tune with a new classifier give train.py --reset_head true"
    if bodies_agree and not any(name.startswith("head.") for name in shapes):
        return "it holds no classifier: train one on it with train.py --train_pretrained FILE --reset_head true"
    return "choose the --net (and growth_rate, block_config, ...) that the checkpoint was made with"


def _shorten(names: list[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(name[:200] for name in names[:most]) + more


def _versions() -> dict[str, str]:
    return {"mindspore": ms.__version__, "numpy": np.__version__, "python": platform.python_version()}


@contextmanager
def quiet_mindspore():
    """Keep MindSpore from logging its own version of an error that we report."""
    loggers = [logging.getLogger(name) for name in logging.root.manager.loggerDict if name.split(".")[0] == "ME"]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
