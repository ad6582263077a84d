"""How pictures become the input of weights from elsewhere: as where they were trained, not as this project does it."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from reprlib import repr as repr_of_some

from src.datasets.class_names import is_list_of_names
from src.datasets.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from src.utils.errors import ReportedError
from src.utils.files import is_file
from src.utils.outside import read_outside
from src.utils.shown import printable
from src.utils.strict_json import parse_json

# Of torchvision's ImageNet weights (IMAGENET1K_V1 of its densenets).
TORCHVISION = Preprocessing(224, 256, IMAGENET_MEAN, IMAGENET_STD, "shorter_side", "bilinear")
# timm's third mode, "border", fills with the mean colour around the picture; a letterbox here is black.
_RESIZE_MODES = {"center": "shorter_side", "squash": "squash"}
_MAX_BYTES = 2**20
_NAME = "config.json"
# Arguments of timm's networks that change no function, or that the shapes of the arrays tell; and what others may be.
_HARMLESS = {
    "growth_rate", "block_config", "bn_size", "num_classes", "in_chans", "drop_rate", "proj_drop_rate",
    "memory_efficient", "global_pool", "aa_stem_only", "img_size",
}  # fmt: skip
_NEUTRAL = {"stem_type": "", "act_layer": "relu", "norm_layer": "batchnorm2d", "aa_layer": ""}
_DENSENET = re.compile("densenet[0-9]+")


def origin_of(weights: Path, described_by: Path | None) -> tuple[Preprocessing, str]:
    """The preprocessing of PyTorch's weights, and in words where it is from.

    That of timm's description: the JSON `described_by`, or the config.json beside the weights, as on the Hugging Face
    hub; else torchvision's. Raises ReportedError for a description that is none.
    """
    beside = weights.parent / _NAME
    path = described_by or (beside if is_file(beside) else None)
    if path is None:
        return (
            TORCHVISION,
            "torchvision's, as no config.json is beside them (convert_weights --pretrained_cfg names one)",
        )
    values = read_description(path)
    is_description = isinstance(values, Mapping) and isinstance(values.get("pretrained_cfg"), Mapping)
    if described_by is None and not is_description:
        return TORCHVISION, f"torchvision's; {path} holds no pretrained_cfg"
    check_description(values, str(path))
    try:
        return timm_preprocessing(values["pretrained_cfg"] if is_description else values), (
            f"of the pretrained_cfg in {path}"
        )
    except ReportedError as error:
        raise ReportedError(f"{path}: {error}") from error


def check_description(values: object, where: str) -> None:
    """Raise ReportedError when timm's description `values` is of a network that is no DenseNet of the paper, though its
    arrays may have the same names and shapes.
    """
    if not isinstance(values, Mapping):
        return
    named = values.get("architecture")
    if isinstance(named, str) and not _DENSENET.fullmatch(named):
        raise ReportedError(
            f"{where} describes the network {printable(named)[:60]}, expected one such as densenet121; choose another"
        )
    arguments = values.get("model_args")
    unknown = [
        str(key)
        for key, value in (arguments.items() if isinstance(arguments, Mapping) else ())
        if key not in _HARMLESS and (value or "") != _NEUTRAL.get(key)
    ]
    if values.get("global_pool", "avg") != "avg":
        unknown.append("global_pool")
    if unknown:
        raise ReportedError(
            f"{where} describes a network with {printable(', '.join(unknown))[:100]}, which this project's networks do "
            "not have; choose another"
        )


def label_names(weights: Path, described_by: Path | None, count: int) -> tuple[str, ...]:
    """The names of `count` classes in timm's description, see `origin_of`; none when it does not name as many."""
    path = described_by or weights.parent / _NAME
    values = read_description(path) if is_file(path) else None
    names = values.get("label_names") if isinstance(values, Mapping) else None
    if not is_list_of_names(names) or len(names) != count:
        return ()
    return tuple(names)


def timm_preprocessing(pretrained_cfg: object) -> Preprocessing:
    """What timm's evaluation does with a picture for a model of this pretrained_cfg. Raises ReportedError."""
    if not isinstance(pretrained_cfg, Mapping):
        raise ReportedError(f"the pretrained_cfg should be a mapping, found {repr_of_some(pretrained_cfg)[:60]}")

    def value(name: str, usual: object, accepts: object, expected: str) -> object:
        found = pretrained_cfg.get(name, usual)
        if not accepts(found):
            raise ReportedError(f"the pretrained_cfg's {name} should be {expected}, found {repr_of_some(found)[:60]}")
        return found

    def is_size(found: object) -> bool:
        whole = isinstance(found, list | tuple) and len(found) == 3 and all(type(side) is int for side in found)
        return whole and found[0] in (1, 3) and found[1] == found[2] and 1 <= found[1] <= 4096

    def is_share(found: object) -> bool:
        return type(found) in (int, float) and 0.1 <= found <= 1

    channels, size, _ = value("input_size", [3, 224, 224], is_size, "[3 or 1, S, S]")
    share = value("crop_pct", 0.875, is_share, "a number from 0.1 to 1")
    choices = {
        "interpolation": value(
            "interpolation", "bicubic", lambda v: v in ("bilinear", "bicubic"), "bilinear or bicubic"
        ),
        "resize_mode": _RESIZE_MODES[
            value("crop_mode", "center", lambda v: v in tuple(_RESIZE_MODES), "center or squash")
        ],
        "pixels": "shown",
    }
    usual = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    numbers = {name: pretrained_cfg.get(name, own) for name, own in usual.items()}
    sizes = {"image_size": size, "resize": math.floor(size / share)}
    found = Preprocessing.from_dict({**sizes, **numbers, **choices})
    if found.input_channels != channels:
        raise ReportedError(f"the pretrained_cfg's mean has {found.input_channels} values for {channels} channels")
    return found


def read_description(path: Path) -> object:
    """The content of a config.json. Raises ReportedError when it is no JSON."""
    try:
        return parse_json(read_outside(path, _MAX_BYTES))
    except OSError as error:
        raise ReportedError(f"{path} cannot be read: {error.strerror}; expected timm's config.json") from error
    except ValueError as error:
        raise ReportedError(f"{path} is not JSON ({error}); expected timm's config.json") from error
