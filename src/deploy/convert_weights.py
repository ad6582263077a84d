"""Turn weights from elsewhere into a checkpoint of this project, and back. The files say which way.

python -m src.deploy.convert_weights densenet121.pth densenet121.ckpt --class_names names.txt
python -m src.deploy.convert_weights timm/model.safetensors densenet169.ckpt
python -m src.deploy.convert_weights zoo.ckpt densenet121.ckpt
python -m src.deploy.convert_weights best.ckpt densenet121.safetensors
python -m src.deploy.convert_weights best.ckpt for_the_zoo.ckpt

.pth, .pt, .pth.tar, .bin (these need PyTorch) and .safetensors hold a state_dict with the names of torchvision's and
timm's DenseNets, alone or in what a training framework saved: Lightning's .ckpt, {"model": ..., "optimizer": ...},
names that begin with module. or model.; what is taken away is said.
A .ckpt is this project's own, or from the MindSpore model zoo, whose networks pool in another way. The network follows
from the shapes of the arrays; every name and shape has to fit it, and what was written is read back and compared bit
for bit. Nothing is overwritten.

--class_names FILE     one name a line, in the order of the outputs; for ImageNet: ls DIR/val > names.txt. Without it
                       they are class_0, class_1, ..., and an evaluation takes the class folders in their order
--net NET              the network that one with other growth_rate, block_config, ... was derived from
--entry KEY            which of several sets of weights in a .pth is meant: state_dict, state_dict_ema, ...
--reset_head           convert the features alone, for train.py --train_pretrained FILE --reset_head true; files without
                       a classifier need it
--input_channels 1      for grey pictures: the weights of the first convolution are summed over the three colours; also
                       from one checkpoint of this project to another
--pretrained_cfg FILE  timm's config.json, which says how pictures become the input; one beside the weights is found.
                       Without it that is as in torchvision: shorter side 256, bilinear, centre 224
--transition_pool avg|max, --stem_pool pad|same
                       pools of a model zoo .ckpt; without them max and same, for densenet100 avg, as there
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import mindspore as ms
import numpy as np

from src.datasets.class_names import normalised, unnamed_classes
from src.datasets.preprocessing import Preprocessing, default_preprocessing
from src.deploy.origin import origin_of
from src.deploy.torch_names import STEM, infer_architecture, present_style, torch_name
from src.deploy.unwrapped import unwrapped
from src.deploy.weight_files import (
    ALSO_PICKLED,
    FLOATS,
    PICKLED,
    SAFE,
    is_torch_file,
    read_torch_weights,
    write_torch_weights,
)
from src.network.architecture import NETWORKS, Architecture
from src.network.densenet import DenseNet
from src.schema.options import usual_dataset
from src.training.model_card import ModelCard, model_card_of
from src.utils.arguments import Parser
from src.utils.checkpoint import RUN_CONFIG, fill_checkpoint, load_checkpoint, misfits, refuse_unusable
from src.utils.errors import ReportedError, UsageError, run
from src.utils.files import require_new, write_new
from src.utils.shown import printable
from src.utils.text_lines import read_lines

CHECKPOINT = ".ckpt"
SUFFIXES = (*PICKLED, SAFE, CHECKPOINT)
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


def main(argv: Sequence[str]) -> None:
    """Convert as the command line `argv` says."""
    asked = _parse(argv)
    source, target = asked.source, asked.target
    _check(source, target)
    weights = read_weights(source, asked.entry)
    for said in weights.said:
        print(f"{source}: {said}")
    _check_flags(asked, weights)
    if asked.reset_head:
        weights = _without_head(weights)
    if asked.input_channels:
        weights = _summed_over_colours(weights)
    described = ""
    arch = weights.architecture or _inferred(weights, asked)
    arrays = fitted(weights, arch)
    if target.suffix != CHECKPOINT:
        _check_pools(source, arch, PAPERS_POOLS, "torchvision's and timm's networks")
        save = partial(write_torch_weights, arrays=_state_dict(arrays))
    elif weights.architecture and asked.input_channels:
        metadata = _grey_metadata(source, arch)
        save = partial(fill_checkpoint, parameters=_parameters(arrays), metadata=metadata)
    elif weights.architecture:
        _check_pools(source, arch, _zoo_pools(arch), "the model zoo's networks")
        save = partial(fill_checkpoint, parameters=_parameters(arrays), metadata=None)
    else:
        names = read_class_names(asked.class_names, arch.num_classes) if weights.has_head else ()
        preprocessing, origin = _input_of(weights, arch, asked)
        described = f"; input {preprocessing.shape_in_words()}, {origin}"
        metadata = _metadata(arch, names, preprocessing) if names else None
        save = partial(fill_checkpoint, parameters=_parameters(arrays), metadata=metadata)

    def write(temporary: Path) -> None:
        save(temporary)
        _verify(temporary, arrays, target)

    write_new(target, write)
    print(
        f"{target}: {arch.net}, {arch.num_classes} classes, {arch.transition_pool} pools in its transitions; "
        f"{len(arrays)} arrays of {source}, read back and equal bit for bit" + described
    )


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


def read_class_names(path: Path | None, num_classes: int) -> tuple[str, ...]:
    """The lines of the file `path`, spelt as a class folder of that name is, or without one class_0, class_1, ...

    Raises ReportedError when it is no UTF-8 text of `num_classes` different names.
    """
    if path is None:
        return unnamed_classes(num_classes)
    names: list[str] = []
    try:
        path.stat()  # raises where there is nothing
        for _, lines in read_lines(path, f"class_names {path}", "text, one name a line"):
            names += [printable(line.strip().decode()) for line in lines]
            if len(names) > num_classes:
                break
    except OSError as error:
        raise ReportedError(
            f"class_names {path} cannot be read ({error.strerror}); expected text, one name a line"
        ) from error
    if len(names) != num_classes:
        found = f"more than {num_classes}" if len(names) > num_classes else len(names)
        raise ReportedError(f"class_names {path} has {found} lines, but the network has {num_classes} classes")
    seen = set()
    for number, name in enumerate(names, 1):
        if not name or normalised(name) in seen:
            found = f"{name!r} a second time" if name else "no name"
            raise ReportedError(f"class_names {path}, line {number}: found {found}, expected a name for each class")
        seen.add(normalised(name))
    return tuple(names)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser("python -m src.deploy.convert_weights SOURCE TARGET [FLAGS]", __doc__)
    for name in ("source", "target"):
        parser.add_argument(name, type=Path, metavar=name.upper(), help=argparse.SUPPRESS)
    parser.add_argument("--class_names", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--net", choices=NETWORKS, default="", help=argparse.SUPPRESS)
    parser.add_argument("--entry", default="", help=argparse.SUPPRESS)
    parser.add_argument("--reset_head", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--input_channels", type=int, choices=(1,), help=argparse.SUPPRESS)
    parser.add_argument("--pretrained_cfg", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--transition_pool", choices=("avg", "max"), help=argparse.SUPPRESS)
    parser.add_argument("--stem_pool", choices=("pad", "same"), help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def _check(source: Path, target: Path) -> None:
    for path, suffixes in ((source, (*SUFFIXES, *ALSO_PICKLED)), (target, SUFFIXES)):
        if path.suffix not in suffixes:
            raise UsageError(f"{path} is of no known kind; expected a name that ends in {', '.join(suffixes)}")
    require_new(target)


def _check_flags(asked: argparse.Namespace, weights: Weights) -> None:
    from_zoo = _is_from_zoo(weights)
    if (asked.transition_pool or asked.stem_pool) and not from_zoo:
        raise UsageError(f"the pools of {weights.path} are known; leave --transition_pool and --stem_pool out")
    if asked.net and weights.architecture:
        raise UsageError(f"{weights.path} carries its network, {weights.architecture.net}; leave --net out")
    if asked.reset_head and (asked.class_names or asked.target.suffix != CHECKPOINT or weights.architecture):
        raise UsageError(
            "--reset_head is for features that become a .ckpt: without class_names, from weights elsewhere"
        )
    if not weights.has_head and STEM in weights.arrays and not asked.reset_head:
        raise ReportedError(
            f"{weights.path} holds features without a classifier; give --reset_head to convert these alone, and "
            "train.py --train_pretrained FILE --reset_head true to train a classifier on them"
        )
    if asked.class_names and (weights.architecture or asked.target.suffix != CHECKPOINT):
        raise UsageError(f"class_names are kept in this project's checkpoints only; {asked.target} will be none")

    if asked.pretrained_cfg and (weights.architecture or from_zoo or asked.target.suffix != CHECKPOINT):
        raise UsageError("--pretrained_cfg is for PyTorch's weights that become a .ckpt; leave it out")
    if asked.input_channels and asked.target.suffix != CHECKPOINT:
        raise UsageError(f"--input_channels is for a target that is a {CHECKPOINT}; found {asked.target}")
    stem = weights.arrays.get(STEM)
    if asked.input_channels and (stem is None or stem.ndim != 4 or stem.shape[1] != 3):
        raise ReportedError(f"{weights.path} is not of 3 channels; leave --input_channels out")


def _is_from_zoo(weights: Weights) -> bool:
    return weights.path.suffix == CHECKPOINT and not weights.architecture and not is_torch_file(weights.path)


def _without_head(weights: Weights) -> Weights:
    features = {name: value for name, value in weights.arrays.items() if not name.startswith(HEAD)}
    return replace(weights, arrays=features, names={name: weights.names[name] for name in features})


def _summed_over_colours(weights: Weights) -> Weights:
    """Of grey pictures, whose colours are equal, the sums of the weights see what the three saw."""
    summed = weights.arrays[STEM].astype(np.float32).sum(axis=1, keepdims=True)
    arch = replace(weights.architecture, input_channels=1) if weights.architecture else None
    return replace(weights, arrays={**weights.arrays, STEM: summed}, architecture=arch)


def _grey_metadata(source: Path, arch: Architecture) -> dict[str, object]:
    checkpoint = load_checkpoint(source)
    card = model_card_of(checkpoint)
    run_config = checkpoint.metadata.get(RUN_CONFIG)
    known = run_config if isinstance(run_config, Mapping) else {}
    kept = {key: known[key] for key in ("net", "dataset", "eval_data_dir") if key in known}
    card = replace(card, architecture=arch, preprocessing=card.preprocessing.grey())
    return {**card.to_metadata(), RUN_CONFIG: kept | {"input_channels": 1}}


def _input_of(weights: Weights, arch: Architecture, asked: argparse.Namespace) -> tuple[Preprocessing, str]:
    if _is_from_zoo(weights) or (arch.stem == "conv3x3" and not asked.pretrained_cfg):
        preprocessing, origin = default_preprocessing(usual_dataset(arch.net)), "this project's"
    else:
        preprocessing, origin = origin_of(weights.path, asked.pretrained_cfg)
    return (preprocessing if arch.input_channels == preprocessing.input_channels else preprocessing.grey()), origin


def _inferred(weights: Weights, asked: argparse.Namespace) -> Architecture:
    shapes = {name: value.shape for name, value in weights.arrays.items()}
    if asked.reset_head:
        shapes[HEAD + "weight"] = (1, 1)  # which nothing keeps
    try:
        arch = infer_architecture(shapes, asked.net)
    except ReportedError as error:
        raise ReportedError(f"{weights.path}: {error}") from error
    pools = _zoo_pools(arch) if _is_from_zoo(weights) else PAPERS_POOLS
    return replace(arch, **{key: getattr(asked, key) or usual for key, usual in pools.items()})


def _zoo_pools(arch: Architecture) -> dict[str, str]:
    """Of the MindSpore model zoo's network; its densenet100 is the paper's."""
    return PAPERS_POOLS if arch.stem == "conv3x3" else {"transition_pool": "max", "stem_pool": "same"}


def _check_pools(source: Path, arch: Architecture, pools: Mapping[str, str], where: str) -> None:
    """The same weights behind other pools are another function, and no loader there would notice."""
    for key, there in pools.items():
        if getattr(arch, key) != there and not (key == "stem_pool" and arch.stem == "conv3x3"):
            raise ReportedError(
                f"{source} has {key} {getattr(arch, key)}, but {where} have {there} and would answer otherwise; "
                "train with that, or use this project's checkpoint as it is"
            )


def _metadata(arch: Architecture, class_names: Sequence[str], preprocessing: Preprocessing) -> dict[str, object]:
    card = ModelCard(arch, preprocessing, tuple(class_names))
    return {**card.to_metadata(), RUN_CONFIG: {"net": arch.net, "dataset": usual_dataset(arch.net)}}


def _parameters(arrays: Mapping[str, np.ndarray]) -> list[ms.Parameter]:
    return [ms.Parameter(ms.Tensor(value), name=name) for name, value in arrays.items()]


def _state_dict(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    state = {}
    for name, value in arrays.items():
        state[torch_name(name)] = value
        if name.endswith(".moving_variance"):
            state[torch_name(name).removesuffix("running_var") + COUNTER] = np.zeros((), np.int64)
    return state


def _verify(path: Path, arrays: Mapping[str, np.ndarray], target: Path) -> None:
    """Raise ReportedError when `path`, which is to become `target`, does not hold `arrays` bit for bit."""
    written = read_weights(path).arrays
    expected = {torch_name(name): value for name, value in arrays.items()}
    if written.keys() != expected.keys() or any(
        written[name].dtype != np.float32 or not np.array_equal(written[name].view(np.uint32), value.view(np.uint32))
        for name, value in expected.items()
    ):
        raise ReportedError(f"{target} did not read back as it was written and is deleted; check the disk")


if __name__ == "__main__":
    sys.exit(run(main))
