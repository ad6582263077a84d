"""What a checkpoint says about its network and input, read as a file that nobody vouches for."""

from dataclasses import dataclass

from src.datasets.preprocessing import Preprocessing
from src.network.architecture import Architecture
from src.utils.checkpoint import Checkpoint
from src.utils.errors import ReportedError


@dataclass(frozen=True)
class Recipe:
    """The network, how a picture becomes its input, and one name for each of its outputs."""

    architecture: Architecture
    preprocessing: Preprocessing
    class_names: tuple[str, ...]


def class_names_of(checkpoint: Checkpoint) -> tuple[str, ...]:
    """One name an output. Raises ReportedError when the entry is not a list of names."""
    names = checkpoint.require("class_names")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ReportedError(f"{checkpoint.path} carries class_names that are not a list of names; use another copy")
    return tuple(names)


def recipe_of(checkpoint: Checkpoint) -> Recipe:
    """Raises ReportedError for entries that are missing, ill-formed or contradict each other or the file's arrays."""
    architecture = Architecture.from_dict(checkpoint.require("architecture"))
    held = sum(value.size for value in checkpoint.arrays.values())
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
    return Recipe(architecture, preprocessing, names)
