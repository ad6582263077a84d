"""Weights by name: which repository of the Hugging Face hub is meant. Nothing is fetched here."""

import os
import re
from dataclasses import dataclass

from src.schema.values import show
from src.utils.errors import UsageError

# Whose weights torchvision has, which timm's repositories hold as safetensors: its own files are pickles.
_TORCHVISION = {f"densenet{depth}": f"timm/densenet{depth}.tv_in1k" for depth in (121, 161, 169, 201)}
_SCHEMES = ("hf://", "timm/", "torchvision/")
_PART = r"[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9])?"
_REPOSITORY = re.compile(f"{_PART}/{_PART}", re.ASCII)


@dataclass(frozen=True)
class HubName:
    """name: as it was given. repository: OWNER/REPO. is_torchvision: pictures are prepared as torchvision does."""

    name: str
    repository: str
    is_torchvision: bool = False


def hub_name(text: str) -> HubName | None:
    """What `torchvision/NET`, `timm/NAME` or `hf://OWNER/REPO` means; None for a path, which what is there always is.

    Raises UsageError for what begins so and is no such name.
    """
    if not text.startswith(_SCHEMES) or os.path.lexists(text):
        return None
    if text.startswith("torchvision/"):
        net = text.removeprefix("torchvision/")
        if net not in _TORCHVISION:
            raise UsageError(
                f"found the pretrained weights {show(text)}, expected torchvision/ and one of "
                f"{', '.join(_TORCHVISION)}; choose one of them"
            )
        return HubName(text, _TORCHVISION[net], is_torchvision=True)
    repository = text.removeprefix("hf://")
    if not _REPOSITORY.fullmatch(repository) or "--" in repository or ".." in repository:
        form = "hf://OWNER/REPO" if text.startswith("hf://") else "timm/NAME"
        raise UsageError(
            f"found the pretrained weights {show(text)}, expected {form} of letters, digits, '-', '_' and '.'; "
            "correct the name, or give a file that exists"
        )
    return HubName(text, repository)
