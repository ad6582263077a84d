"""What train.py begins with: a checkpoint's file, or weights by name, which become one in memory."""

from collections.abc import Mapping
from dataclasses import replace

from src.datasets.class_names import unnamed_classes
from src.deploy.foreign import Weights, fitted, inferred, input_of, over_colours, read_weights
from src.deploy.hub import fetch
from src.deploy.origin import label_names
from src.deploy.torch_names import STEM
from src.network.architecture import Architecture
from src.schema.pretrained_names import HubName, hub_name
from src.training.model_card import ModelCard, model_card_of
from src.training.pretrained import ORIGIN
from src.utils.checkpoint import RAW, Checkpoint, load_checkpoint
from src.utils.checkpoint_arrays import HeldArrays
from src.utils.errors import ReportedError

_STEM = "backbone.features.conv0.weight"


def load_pretrained(name: str, *, net: str = "", reset_head: bool = False, input_channels: int = 0) -> Checkpoint:
    """The checkpoint `name`, a file or the name of weights on the Hugging Face hub (`hub_name`).

    net: of which named weights of other sizes were derived. reset_head: a classifier is not needed. input_channels 1:
    weights for colours become those for grey pictures. Raises ReportedError when there are none to begin with.
    """
    named = hub_name(name)
    found = _fetched(named, net, reset_head) if named else load_checkpoint(name)
    return _for_grey(found) if input_channels == 1 and found.metadata else found


def _fetched(named: HubName, net: str, reset_head: bool) -> Checkpoint:
    fetched = fetch(named)
    weights = read_weights(fetched.weights)
    if not weights.has_head and STEM in weights.arrays and not reset_head:
        raise ReportedError(f"{named.name} holds no classifier; give --reset_head to train a new one")
    arch = _network_of(weights, net)
    arrays = fitted(weights, arch)
    preprocessing, origin = input_of(weights, arch, None, is_torchvisions=named.is_torchvision)
    names = label_names(fetched.weights, None, arch.num_classes) or unnamed_classes(arch.num_classes)
    said = (
        f"weights of {named.name}: {named.repository} on the Hugging Face hub, SHA-256 {fetched.sha256}; {arch.net}, "
        f"{arch.num_classes if weights.has_head else 'no'} classes, input {preprocessing.shape_in_words()}, {origin}"
    )
    metadata = {**ModelCard(arch, preprocessing, names).to_metadata(), ORIGIN: said}
    return Checkpoint(fetched.weights, HeldArrays(arrays), metadata)


def _network_of(weights: Weights, net: str) -> Architecture:
    """A named network, or with other sizes one that was derived from `net`; a contradiction is for the caller."""
    for_headless = {"reset_head": not weights.has_head, "pools": {}}
    try:
        return inferred(weights, "", **for_headless)
    except ReportedError:
        if not net:
            raise
    return inferred(weights, net, **for_headless)


def _for_grey(checkpoint: Checkpoint) -> Checkpoint:
    """The same for an input of one channel, if it is of three."""
    card = model_card_of(checkpoint)
    weights = checkpoint.weights()
    stem = weights.get(_STEM)
    if card.architecture.input_channels == 1 or stem is None:
        return checkpoint
    grey = replace(
        card,
        architecture=replace(card.architecture, input_channels=1),
        preprocessing=card.preprocessing.grey(),
    )
    said = checkpoint.metadata.get(ORIGIN, f"weights of {checkpoint.path}")
    metadata: Mapping[str, object] = {
        **checkpoint.metadata, **grey.to_metadata(), "weights": RAW,  # the only ones that are left
        ORIGIN: f"{said}; those of its first convolution are summed over the colours, for grey pictures",
    }  # fmt: skip
    arrays = HeldArrays({**weights, _STEM: over_colours(stem)})
    return Checkpoint(checkpoint.path, arrays, metadata)
