"""What a checkpoint says about its network and input, read as a file that nobody vouches for."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from src.datasets.class_names import is_list_of_names
from src.datasets.preprocessing import Preprocessing
from src.network.architecture import Architecture
from src.utils.calibration import is_temperature
from src.utils.checkpoint import Checkpoint
from src.utils.errors import ReportedError, UsageError


@dataclass(frozen=True)
class ModelCard:
    """What a model is: the network, how a picture becomes its input, and one name for each of its outputs.

    temperature: what its logits are divided by, 1 unless eval.py has calibrated it. Raises ReportedError when the input
    is too small for the network.
    """

    architecture: Architecture
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    temperature: float = 1.0

    def __post_init__(self) -> None:
        self.architecture.feature_size(self.preprocessing.image_size)

    def to_metadata(self) -> dict[str, object]:
        """The entries of a checkpoint that `model_card_of` reads."""
        return {
            "architecture": self.architecture.to_dict(),
            "preprocessing": self.preprocessing.to_dict(),
            "class_names": list(self.class_names),
            **({} if self.temperature == 1 else {"temperature": self.temperature}),
        }


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
    return ModelCard(architecture, preprocessing, names, float(temperature))


def model_card_as_asked(
    checkpoint: Checkpoint, architecture: Mapping[str, object], image_size: int = 0, **geometry: object
) -> ModelCard:
    """`model_card_of`, with the input size `image_size` (0: its own) and `geometry` (see `Preprocessing.as_asked`).

    Raises UsageError when `architecture`, fields that a user asked for, contradicts the checkpoint.
    """
    card = model_card_of(checkpoint)
    for key, asked in architecture.items():
        own = getattr(card.architecture, key)
        if asked != own:
            raise UsageError(f"{key} is {asked}, but {checkpoint.path} was made with {own}; leave --{key} out")
    return replace(card, preprocessing=card.preprocessing.as_asked(image_size=image_size, **geometry))
