"""PyTorch's names for a DenseNet's arrays, which torchvision and timm share, and which network the arrays make up."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from src.network.architecture import NETWORKS, Architecture, architecture
from src.utils.errors import ReportedError

_LEAVES = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_LAYER = re.compile(r"features\.denseblock([0-9]{1,3})\.denselayer[0-9]{1,3}\.conv2\.weight")
STEM, _CLASSIFIER = "features.conv0.weight", "classifier.weight"
_FIRST_LAYER, _FIRST_TRANSITION = "features.denseblock1.denselayer1.conv2.weight", "features.transition1.conv.weight"


def torch_name(name: str) -> str:
    """PyTorch's name for the parameter `name` of `src.network.densenet.DenseNet`.

    `backbone.features.denseblock1.cell_list.0.norm1.gamma` is `features.denseblock1.denselayer1.norm1.weight`, and
    `head.fc.bias` is `classifier.bias`.
    """
    module, _, leaf = name.rpartition(".")
    module = re.sub(r"\.cell_list\.([0-9]{1,3})", lambda found: f".denselayer{int(found[1]) + 1}", module)
    module = re.sub(r"(\.transition[0-9]+)\.features", r"\1", module)
    module = "classifier" if module == "head.fc" else module.removeprefix("backbone.")
    return f"{module}.{_LEAVES.get(leaf, leaf)}"


def present_style(name: str) -> str:
    """The name used today for one such as `...denselayer1.norm.1.weight`, as in the files that torchvision released."""
    return re.sub(r"(\.denselayer[0-9]+\.(?:norm|conv))\.([12]\.)", r"\1\2", name)


def infer_architecture(shapes: Mapping[str, tuple[int, ...]], net: str = "") -> Architecture:
    """The network with arrays of these `shapes`, by PyTorch's names. Its pools leave no trace: they are the paper's.

    A network that is none of `NETWORKS` is one with other sizes of the network called `net`. Raises ReportedError when
    the arrays are no DenseNet's or `net` is missing or another one.
    """
    stem, first = shapes.get(STEM, ()), shapes.get(_FIRST_LAYER, ())
    classifier = shapes.get(_CLASSIFIER, ())
    needed = ((STEM, stem, 4), (_FIRST_LAYER, first, 4), (_CLASSIFIER, classifier, 2))
    missing = [name for name, _, _ in needed if name not in shapes]
    if missing:
        held = ", ".join(repr(name)[1:-1][:80] for name in list(shapes)[:3])
        more = f", and so {'are' if missing[2:] else 'is'} {' and '.join(missing[1:])}" if missing[1:] else ""
        raise ReportedError(
            f"these are not the weights of a DenseNet classifier: {missing[0]} is missing{more}; the {len(shapes)} "
            f"arrays of the file begin with {held or 'nothing'}"
        )
    for name, shape, axes in needed:
        if len(shape) != axes:
            raise ReportedError(f"these are not the weights of a DenseNet classifier: {name} is of shape {shape}")
    layers = Counter(int(found[1]) for name in shapes if (found := _LAYER.fullmatch(name)))
    out_channels, in_channels = (*shapes.get(_FIRST_TRANSITION, ()), 0, 0)[:2]
    fields = {
        "growth_rate": first[0],
        "block_config": tuple(layers[block] for block in range(1, len(layers) + 1)),
        "stem": "conv7x7" if stem[2] == 7 else "conv3x3",
        "stem_features": stem[0],
        "bn_size": first[1] // max(1, first[0]),
        "compression": 0.5 if out_channels == in_channels // 2 else out_channels / max(1, in_channels),
    }
    channels = stem[1]
    own = [name for name in NETWORKS if (named := architecture(name, classifier[0])) == replace(named, **fields)]
    if own and net not in ("", *own):
        raise ReportedError(f"these are the weights of {own[0]}, not of {net}; leave the network's name out")
    if not own and not net:
        found = ", ".join(f"{key} {value}" for key, value in fields.items())
        raise ReportedError(
            f"these are the weights of a DenseNet with {found}, which is none of {', '.join(NETWORKS)}; "
            "name the one it was derived from with --net"
        )
    return architecture(net or own[0], classifier[0], **fields, input_channels=channels)
