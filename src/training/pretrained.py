"""The weights that a new run begins with, and what goes with them: without the same pools and the same normalisation
they are those of another function, and nothing but the accuracy would tell.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from src.datasets.class_names import unnamed_classes
from src.datasets.preprocessing import Preprocessing, is_input
from src.model_utils.group import Group
from src.network.architecture import Architecture
from src.training.model_card import POOLS, class_names_of, pools_as_asked, require_as_asked
from src.utils.checkpoint import Checkpoint, load_checkpoint
from src.utils.logging import get_logger

ORIGIN = "origin"  # the entry of a checkpoint in memory that says in words where its weights are from
_CARRIED = ("architecture", "preprocessing")
# What of a network the file decides, beside the pools, where nobody asked for something else.
_SHAPES = ("net", "growth_rate", "block_config", "stem_features", "bn_size", "compression", "input_channels")


@dataclass(frozen=True)
class Pretrained:
    """checkpoint: None on ranks other than the master. class_names: of its classifier's outputs, none without one.
    architecture, preprocessing: None where the file does not say, as the model zoo's. said: where the weights are from,
    for the log; empty for a file.
    """

    path: str
    checkpoint: Checkpoint | None
    class_names: tuple[str, ...]
    architecture: Architecture | None
    preprocessing: Preprocessing | None
    said: str = ""

    def network(self, asked: Mapping[str, object], planned: Architecture) -> dict[str, object]:
        """The keys of `planned`, the network of the configuration, that have to be as in the file.

        asked: those that a user gave. Raises UsageError when they name another network or other pools than the file.
        """
        if self.architecture is None:
            return {}
        require_as_asked(
            self.path, self.architecture, {key: asked[key] for key in ("net", "input_channels") if key in asked}
        )
        own, before = self.architecture, planned.to_dict()
        shapes = {key: value for key in _SHAPES if key not in asked and before[key] != (value := own.to_dict()[key])}
        return shapes | self.pools(asked)

    def geometry(self, asked: Mapping[str, object], planned: Preprocessing, dataset: str) -> dict[str, object]:
        """The keys that resize the pictures of `dataset` as those that the weights were trained on, where `planned`
        would not.

        asked: those that a user gave, which hold. Data sets whose pictures are the input, such as CIFAR's, stay so, and
        inputs so small that the whole picture is kept, as training shifts it, are not cropped.
        """
        before = self.preprocessing
        if before is None or not before.resize or is_input(dataset):
            return {}
        keys = {"resize": before.resize_mode, "interpolation": before.interpolation}
        if planned.resized_to > planned.image_size and before.at(planned.image_size).resize != planned.resize:
            keys["crop_ratio"] = before.image_size / before.resize
        own = {"resize": planned.resize_mode, "interpolation": planned.interpolation}
        return {key: value for key, value in keys.items() if key not in asked and value != own.get(key)}

    def pools(self, asked: Mapping[str, object]) -> dict[str, str]:
        """How the network has to pool. Raises UsageError when `asked`, what a user gave, contradicts the file."""
        if self.architecture is None:
            return {}
        pools_as_asked(self.path, self.architecture.to_dict(), asked)
        return {key: getattr(self.architecture, key) for key in POOLS}


def share_pretrained(path: str, group: Group, load: Callable[[str], Checkpoint] = load_checkpoint) -> Pretrained | None:
    """What the master finds in the checkpoint `path`, which it alone has `load` open; None for an empty path.

    Raises ReportedError on all ranks.
    """
    found = None

    def find() -> str:
        nonlocal found
        found = load(path)
        if found.metadata:
            carried = {key: found.require(key) for key in _CARRIED}
            said = found.metadata.get(ORIGIN, "")
            return json.dumps({"class_names": class_names_of(found), ORIGIN: str(said), **carried})
        head = found.arrays.shapes.get("head.fc.weight", ())
        return json.dumps({"class_names": unnamed_classes(head[0] if len(head) == 2 else 0)})

    if not path:
        return None
    said = json.loads(group.from_master(find))
    return Pretrained(
        path,
        found,
        tuple(said["class_names"]),
        Architecture.from_dict(said["architecture"]) if "architecture" in said else None,
        Preprocessing.from_dict(said["preprocessing"]) if "preprocessing" in said else None,
        said.get(ORIGIN, ""),
    )


def normalised_as_before(preprocessing: Preprocessing, pretrained: Pretrained | None) -> Preprocessing:
    """`preprocessing`, of a new run's data set, with the mean and std that its weights were trained on."""
    before = pretrained.preprocessing if pretrained else None
    if before is None or len(before.mean) != len(preprocessing.mean) or before.normalised_as(preprocessing) == before:
        return preprocessing
    mean, std = (", ".join(f"{value:.4g}" for value in values) for values in (before.mean, before.std))
    get_logger().info("pictures are normalised as %s was trained: mean %s, std %s", pretrained.path, mean, std)
    return preprocessing.normalised_as(before)
