"""Weights from elsewhere, by PyTorch's names: what a file holds, which network it is, and how pictures get into it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from src.datasets.preprocessing import Preprocessing, default_preprocessing
from src.deploy.origin import TORCHVISION, origin_of
from src.deploy.torch_names import STEM, infer_architecture, present_style, torch_name
from src.deploy.unwrapped import unwrapped
from src.deploy.weight_files import FLOATS, is_torch_file, read_torch_weights
from src.network.architecture import Architecture
from src.network.densenet import DenseNet
from src.schema.options import usual_dataset
from src.training.model_card import model_card_of
from src.utils.checkpoint import load_checkpoint, misfits, refuse_unusable
from src.utils.errors import ReportedError

CHECKPOINT = ".ckpt"
PAPERS_POOLS = {"transition_pool": "avg", "stem_pool": "pad"}  # and torchvision's and timm's
HEAD = "classifier."
COUNTER = "num_batches_tracked"  # PyTorch's batch normalisation counts its steps; nothing depends on the number


@dataclass(frozen=True)
class Weights:
    """What a file holds: `arrays` by PyTorch's names, and by the same the file's own `names` for them.

    architecture: what a checkpoint of this project carries; None for any other file. said: what was taken away.
    """

    path: Path
    arrays: Mapping[str, np.ndarray]
    names: Mapping[str, str]
    architecture: Architecture | None
    said: Sequence[str] = ()

    @property
    def has_head(self) -> bool:
        """Whether there is a classifier among the arrays."""
        return any(name.startswith(HEAD) for name in self.arrays)

    @property
    def is_from_zoo(self) -> bool:
        """Whether they are the MindSpore model zoo's."""
        return self.path.suffix == CHECKPOINT and not self.architecture and not is_torch_file(self.path)

    def without_head(self) -> "Weights":
        """The features alone."""
        features = {name: value for name, value in self.arrays.items() if not name.startswith(HEAD)}
        return replace(self, arrays=features, names={name: self.names[name] for name in features})

    def summed_over_colours(self) -> "Weights":
        """Those of a network of one channel: of grey pictures, whose colours are equal, the sums see what they saw."""
        arch = replace(self.architecture, input_channels=1) if self.architecture else None
        return replace(self, arrays={**self.arrays, STEM: over_colours(self.arrays[STEM])}, architecture=arch)


def over_colours(stem: np.ndarray) -> np.ndarray:
    """The first convolution's weights (F, 3, k, k) summed: (F, 1, k, k) float32."""
    return stem.astype(np.float32).sum(axis=1, keepdims=True)


def read_weights(path: Path, entry: str = "") -> Weights:
    """Read a file of any of the kinds. Raises ReportedError when it cannot be read or names an array in two ways."""
    carried, said = None, []
    if path.suffix == CHECKPOINT and not is_torch_file(path):
        checkpoint = load_checkpoint(path)
        given = checkpoint.weights()
        if checkpoint.metadata:
            carried = model_card_of(checkpoint).architecture
        # The model zoo saves its whole training step, in which the network has this name.
        names = [(torch_name(name.removeprefix("network.")), name) for name in given]
    else:
        given, taken = read_torch_weights(path, entry)
        counters = {name for name in given if name.endswith(COUNTER)}
        counters = {name for name in counters if name.removesuffix(COUNTER) + "running_mean" in given}
        given = {name: value for name, value in given.items() if name not in counters}
        try:
            bare, said = unwrapped({name: value.shape for name, value in given.items()})
        except ReportedError as error:
            raise ReportedError(f"{path}: {error}") from error
        said = [f"the weights are its entry {taken!r}", *said] if taken else said
        names = [(present_style(bare[name]), name) for name in given]
    arrays, own_names = {}, {}
    for name, own in names:
        if name in arrays:
            raise ReportedError(f"{path} holds {own_names[name]} and {own}, two names of one array; use another copy")
        arrays[name], own_names[name] = given[own], own
    return Weights(path, arrays, own_names, carried, said)


def fitted(weights: Weights, arch: Architecture) -> dict[str, np.ndarray]:
    """The arrays as float32 by our names, in the order of the network's parameters.

    Raises ReportedError that lists by the file's own names what is missing, left over or of another shape, or names an
    array that holds other numbers than FLOATS.
    """
    held = sum(value.size for value in weights.arrays.values())
    if arch.num_parameters > 2 * held:  # asked before the network is built: it may be too large for the memory
        raise ReportedError(
            f"{weights.path} holds {held:,} values, not half of the {arch.num_parameters:,} of the network that its "
            "shapes describe; use another copy"
        )
    parameters = list(DenseNet(replace(arch, drop_rate=0.0)).get_parameters())
    if not weights.has_head:
        parameters = [parameter for parameter in parameters if not torch_name(parameter.name).startswith(HEAD)]
    in_checkpoint = weights.path.suffix == CHECKPOINT and not is_torch_file(weights.path)

    def own_name(name: str) -> str:
        return weights.names.get(torch_name(name), name if in_checkpoint else torch_name(name))

    problems = misfits(
        {own_name(parameter.name): parameter.shape for parameter in parameters},
        {weights.names[name]: value.shape for name, value in weights.arrays.items()},
    )
    if problems:
        raise ReportedError(f"{weights.path} does not fit {arch.net}; {problems}; use another copy")
    arrays = {parameter.name: weights.arrays[torch_name(parameter.name)] for parameter in parameters}
    for name, value in arrays.items():
        if value.dtype.name not in ("float32", "float16", "bfloat16"):
            raise ReportedError(f"{weights.path}: {own_name(name)} has the type {value.dtype}, expected {FLOATS}")
    refuse_unusable(weights.path, {own_name(name): value for name, value in arrays.items()})
    return {name: value.astype(np.float32, copy=False) for name, value in arrays.items()}


def input_of(
    weights: Weights, arch: Architecture, described_by: Path | None, *, is_torchvisions: bool = False
) -> tuple[Preprocessing, str]:
    """How pictures become the input of `arch`, and in words where that is from; see `origin_of`."""
    preprocessing, origin = TORCHVISION, "torchvision's"
    if not weights.is_from_zoo and not is_torchvisions:
        preprocessing, origin = origin_of(weights.path, described_by)
    if weights.is_from_zoo or (preprocessing == TORCHVISION and arch.stem == "conv3x3"):  # torchvision has none
        preprocessing, origin = default_preprocessing(usual_dataset(arch.net)), "this project's"
    return (preprocessing if arch.input_channels == preprocessing.input_channels else preprocessing.grey()), origin


def inferred(weights: Weights, net: str, *, reset_head: bool, pools: Mapping[str, str | None]) -> Architecture:
    """The network that the shapes make up. net, reset_head, pools: as the flags of `src.deploy.convert_weights`.

    Raises ReportedError when they are no DenseNet's.
    """
    shapes = {name: value.shape for name, value in weights.arrays.items()}
    if reset_head:
        shapes[HEAD + "weight"] = (1, 1)  # which nothing keeps
    try:
        arch = infer_architecture(shapes, net)
    except ReportedError as error:
        raise ReportedError(f"{weights.path}: {error}") from error
    usual = zoo_pools(arch) if weights.is_from_zoo else PAPERS_POOLS
    return replace(arch, **{key: pools.get(key) or value for key, value in usual.items()})


def zoo_pools(arch: Architecture) -> dict[str, str]:
    """Of the MindSpore model zoo's network; its densenet100 is the paper's."""
    return PAPERS_POOLS if arch.stem == "conv3x3" else {"transition_pool": "max", "stem_pool": "same"}
