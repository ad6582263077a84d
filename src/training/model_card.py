"""What a checkpoint says about its network and input, read as a file that nobody vouches for."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from src.datasets.class_names import is_list_of_names
from src.datasets.preprocessing import Preprocessing
from src.network.architecture import Architecture
from src.utils.calibration import is_temperature
from src.utils.checkpoint import Checkpoint
from src.utils.errors import ReportedError, UsageError
from src.utils.logging import get_logger

TRAINING_INPUT = "training_preprocessing"  # the entry in a checkpoint that is evaluated at another size
POOLS = ("transition_pool", "stem_pool")  # what shapes a network and no array of it

ACTIVATIONS = {"single": "softmax", "multilabel": "sigmoid"}  # what makes probabilities of a task's logits


@dataclass(frozen=True)
class ModelCard:
    """What a model is: the network, how a picture becomes its input, one name for each of its outputs, and
    whether these are one answer (`single`: softmax) or a yes or no each (`multilabel`: sigmoid).

    temperature: what its logits are divided by, 1 unless eval.py has calibrated it. Raises ReportedError when the input
    is too small for the network or has other channels.
    """

    architecture: Architecture
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    temperature: float = 1.0
    task: str = "single"

    def __post_init__(self) -> None:
        self.architecture.feature_size(self.preprocessing.image_size)
        if self.architecture.input_channels != self.preprocessing.input_channels:
            raise ReportedError(
                f"the network takes {self.architecture.input_channels} channels, but its preprocessing makes "
                f"{self.preprocessing.input_channels}; use another copy, or convert it with --input_channels"
            )

    def evaluated_at(self, image_size: int) -> "ModelCard":
        """The same with another input size, which the network takes as it is; 0: as it is."""
        return replace(self, preprocessing=self.preprocessing.at(image_size or self.preprocessing.image_size))

    def differs_from(self, checkpoint: Checkpoint | None) -> bool:
        """Whether the run of `checkpoint` has been evaluated with another input until now."""
        return checkpoint is not None and Preprocessing.from_dict(checkpoint.require("preprocessing")) != (
            self.preprocessing
        )

    def to_metadata(self, training: Preprocessing | None = None) -> dict[str, object]:
        """The entries of a checkpoint that `model_card_of` reads.

        training: how pictures became the input in training, kept as well where it is another.
        """
        other = {} if training in (None, self.preprocessing) else {TRAINING_INPUT: training.to_dict()}
        return {
            **other,
            "architecture": self.architecture.to_dict(),
            "preprocessing": self.preprocessing.to_dict(),
            "class_names": list(self.class_names),
            **({} if self.temperature == 1 else {"temperature": self.temperature}),
            "task": self.task,
        }


def training_input_of(checkpoint: Checkpoint) -> Preprocessing:
    """How pictures become the input when the run of `checkpoint` goes on. Raises ReportedError for an odd entry."""
    found = checkpoint.metadata.get(TRAINING_INPUT)
    return Preprocessing.from_dict(checkpoint.require("preprocessing") if found is None else found)


def class_names_of(checkpoint: Checkpoint) -> tuple[str, ...]:
    """One name an output. Raises ReportedError when the entry is not a list of names."""
    names = checkpoint.require("class_names")
    if not names or not is_list_of_names(names):
        raise ReportedError(f"{checkpoint.path} carries class_names that are not a list of names; use another copy")
    return tuple(names)


def model_card_of(checkpoint: Checkpoint) -> ModelCard:
    """Raises ReportedError for entries that are missing, ill-formed or contradict each other or the file's arrays."""
    architecture = Architecture.from_dict(checkpoint.require("architecture"))
    held = sum(math.prod(shape) for shape in checkpoint.arrays.shapes.values())
    if architecture.num_parameters > held:  # asked before the network is built: it may be too large for the memory
        raise ReportedError(
            f"{checkpoint.path} describes a network of {architecture.num_parameters:,} parameters, but holds {held:,} "
            "values; use another copy"
        )
    preprocessing = Preprocessing.from_dict(checkpoint.require("preprocessing"))
    names = class_names_of(checkpoint)
    if len(names) != architecture.num_classes:
        raise ReportedError(
            f"{checkpoint.path} carries {len(names)} class_names for {architecture.num_classes} classes; "
            "use another copy"
        )
    temperature = checkpoint.metadata.get("temperature", 1.0)
    if not is_temperature(temperature):
        raise ReportedError(
            f"{checkpoint.path} carries the temperature {temperature!r:.40}, expected a positive number; "
            "use another copy"
        )
    task = checkpoint.metadata.get("task", "single")  # older checkpoints do not say
    if not isinstance(task, str) or task not in ACTIVATIONS:
        raise ReportedError(
            f"{checkpoint.path} carries a task that is none of {', '.join(ACTIVATIONS)}; use another copy"
        )
    return ModelCard(architecture, preprocessing, names, float(temperature), task)


def pools_as_asked(path: str | Path, architecture: object, asked: Mapping[str, object]) -> None:
    """Raise UsageError when `asked`, fields that a user gave, name other pools than `architecture`, the entry of the
    checkpoint `path`, or other channels. Everything else that does not fit is an array of another shape.

    Raises ReportedError when the entry is not what train.py writes.
    """
    keys = [key for key in (*POOLS, "input_channels") if key in asked]
    require_as_asked(path, Architecture.from_dict(architecture), {key: asked[key] for key in keys})


def warn_of_unsaid_pools(path: str | Path, net: str, asked: Mapping[str, object]) -> None:
    """Say in the log, for a file that carries weights of `net` alone, that nobody has said how the network pools."""
    if net != "densenet100" and not set(POOLS) <= set(asked):  # the model zoo's pools as the paper's
        get_logger().warning(
            "%s does not say how its network pools, which is taken to be as in the paper; weights of densenet121 from "
            "the MindSpore model zoo need --transition_pool max --stem_pool same",
            path,
        )


def require_as_asked(path: str | Path, architecture: Architecture, asked: Mapping[str, object]) -> None:
    """Raise UsageError when a field that a user `asked` for is another one in `architecture`, that of the file."""
    for key, value in asked.items():
        own = getattr(architecture, key)
        if value != own:
            raise UsageError(f"{key} is {value}, but {path} was made with {own}; leave --{key} out")


def model_card_as_asked(
    checkpoint: Checkpoint, architecture: Mapping[str, object], image_size: int = 0, **geometry: object
) -> ModelCard:
    """`model_card_of`, with the input size `image_size` (0: its own) and `geometry` (see `Preprocessing.as_asked`).

    Raises UsageError when `architecture`, fields that a user asked for, contradicts the checkpoint.
    """
    card = model_card_of(checkpoint)
    require_as_asked(checkpoint.path, card.architecture, architecture)
    return replace(card, preprocessing=card.preprocessing.as_asked(image_size=image_size, **geometry))
