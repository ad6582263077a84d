"""Layer-wise learning rates: the earlier a layer, the less it is changed."""

import re
from collections.abc import Sequence

_GROUPED = re.compile(r"(?:^|\.)(?:denseblock|transition)(\d+)\.")
_STEM = re.compile(r"(?:^|\.)(?:conv0|norm0)\.")


def depth_groups(names: Sequence[str]) -> list[int]:
    """The depth of each of a DenseNet's parameters, by its name: 0 the stem, 1, 2, ... the dense blocks, each with the
    transition behind it, and last the head with the normalisation before it (timm's coarse groups).
    """
    found = [_GROUPED.search(name) for name in names]
    last = max((int(match[1]) for match in found if match), default=0) + 1
    return [
        int(match[1]) if match else 0 if _STEM.search(name) else last for name, match in zip(names, found, strict=True)
    ]


def layer_factors(names: Sequence[str], decay: float) -> tuple[float, ...]:
    """What the learning rate of each parameter is multiplied by: decay ** (groups behind its own), 1 for the head.

    As in BEiT (Bao et al. 2022, arXiv:2106.08254) and timm's param_groups_layer_decay, over `depth_groups`.
    """
    groups = depth_groups(names)
    return tuple(decay ** (max(groups) - group) for group in groups)
