"""The weights that a new run begins with, and what goes with them: without the same pools and the same normalisation
they are those of another function, and nothing but the accuracy would tell.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from src.datasets.class_names import unnamed_classes
from src.datasets.preprocessing import Preprocessing
from src.model_utils.group import Group
from src.network.architecture import Architecture
from src.training.model_card import POOLS, class_names_of, pools_as_asked
from src.utils.checkpoint import Checkpoint, load_checkpoint
from src.utils.logging import get_logger

_CARRIED = ("architecture", "preprocessing")


@dataclass(frozen=True)
class Pretrained:
    """checkpoint: None on ranks other than the master. class_names: of its classifier's outputs, none without one.
    architecture, preprocessing: None where the file does not say, as the model zoo's.
    """

    path: str
    checkpoint: Checkpoint | None
    class_names: tuple[str, ...]
    architecture: Architecture | None
    preprocessing: Preprocessing | None

    def pools(self, asked: Mapping[str, object]) -> dict[str, str]:
        """How the network has to pool. Raises UsageError when `asked`, what a user gave, contradicts the file."""
        if self.architecture is None:
            return {}
        pools_as_asked(self.path, self.architecture.to_dict(), asked)
        return {key: getattr(self.architecture, key) for key in POOLS}


def share_pretrained(path: str, group: Group) -> Pretrained | None:
    """What the master finds in the checkpoint `path`, on all ranks; None for an empty path.

    Raises ReportedError on all.
    """
    found = None

    def load() -> str:
        nonlocal found
        found = load_checkpoint(path)
        if found.metadata:
            carried = {key: found.require(key) for key in _CARRIED}
            return json.dumps({"class_names": class_names_of(found), **carried})
        head = found.arrays.shapes.get("head.fc.weight", ())
        return json.dumps({"class_names": unnamed_classes(head[0] if len(head) == 2 else 0)})

    if not path:
        return None
    said = json.loads(group.from_master(load))
    return Pretrained(
        path,
        found,
        tuple(said["class_names"]),
        Architecture.from_dict(said["architecture"]) if "architecture" in said else None,
        Preprocessing.from_dict(said["preprocessing"]) if "preprocessing" in said else None,
    )


def normalised_as_before(preprocessing: Preprocessing, pretrained: Pretrained | None) -> Preprocessing:
    """`preprocessing`, of a new run's data set, with the mean and std that its weights were trained on."""
    before = pretrained.preprocessing if pretrained else None
    if before is None or len(before.mean) != len(preprocessing.mean) or before.normalised_as(preprocessing) == before:
        return preprocessing
    mean, std = (", ".join(f"{value:.4g}" for value in values) for values in (before.mean, before.std))
    get_logger().info("pictures are normalised as %s was trained: mean %s, std %s", pretrained.path, mean, std)
    return preprocessing.normalised_as(before)
