"""Turn weights from elsewhere into a checkpoint of this project, and back. The files say which way.

python -m src.deploy.convert_weights densenet121.pth densenet121.ckpt --class_names names.txt
python -m src.deploy.convert_weights model.safetensors densenet169.ckpt
python -m src.deploy.convert_weights timm/densenet121.ra_in1k densenet121.ckpt
python -m src.deploy.convert_weights zoo.ckpt densenet121.ckpt
python -m src.deploy.convert_weights best.ckpt densenet121.safetensors
python -m src.deploy.convert_weights best.ckpt for_the_zoo.ckpt

.pth, .pt, .pth.tar, .bin (these need PyTorch) and .safetensors hold a state_dict with the names of torchvision's and
timm's DenseNets, alone or in what a training framework saved: Lightning's .ckpt, {"model": ..., "optimizer": ...},
names that begin with module. or model.; what is taken away is said.
torchvision/NET, timm/NAME and hf://OWNER/REPO are fetched from the Hugging Face hub, as by train.py (docs/weights.md).
A .ckpt is this project's own, or from the MindSpore model zoo, whose networks pool in another way. The network follows
from the shapes of the arrays; every name and shape has to fit it, and what was written is read back and compared bit
for bit. Nothing is overwritten.

--class_names FILE     one name a line, in the order of the outputs; for ImageNet: ls DIR/val > names.txt. Without it
                       the label_names of a config.json beside the weights, or else class_0, class_1, ..., and an
                       evaluation takes the class folders in their order
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
from dataclasses import replace
from functools import partial
from pathlib import Path

import mindspore as ms
import numpy as np

from src.datasets.class_names import normalised, unnamed_classes
from src.datasets.preprocessing import Preprocessing
from src.deploy.foreign import (
    CHECKPOINT,
    COUNTER,
    PAPERS_POOLS,
    Weights,
    fitted,
    inferred,
    input_of,
    read_weights,
    zoo_pools,
)
from src.deploy.hub import fetch
from src.deploy.origin import label_names
from src.deploy.torch_names import STEM, torch_name
from src.deploy.weight_files import ALSO_PICKLED, PICKLED, SAFE, write_torch_weights
from src.network.architecture import NETWORKS, Architecture
from src.schema.options import usual_dataset
from src.schema.pretrained_names import hub_name
from src.training.model_card import ModelCard, model_card_of
from src.utils.arguments import Parser
from src.utils.checkpoint import RUN_CONFIG, fill_checkpoint, load_checkpoint
from src.utils.errors import ReportedError, UsageError, run
from src.utils.files import require_new, write_new
from src.utils.shown import printable
from src.utils.text_lines import read_lines

SUFFIXES = (*PICKLED, SAFE, CHECKPOINT)


def main(argv: Sequence[str]) -> None:
    """Convert as the command line `argv` says."""
    asked = _parse(argv)
    target, named = asked.target, hub_name(asked.source)
    source = Path(asked.source)
    _check(None if named else source, target)
    if named:
        source = fetch(named).weights
    weights = read_weights(source, asked.entry)
    for said in weights.said:
        print(f"{source}: {said}")
    _check_flags(asked, weights)
    if asked.reset_head:
        weights = weights.without_head()
    if asked.input_channels:
        weights = weights.summed_over_colours()
    described = ""
    arch = weights.architecture or inferred(weights, asked.net, reset_head=asked.reset_head, pools=vars(asked))
    arrays = fitted(weights, arch)
    if target.suffix != CHECKPOINT:
        _check_pools(source, arch, PAPERS_POOLS, "torchvision's and timm's networks")
        save = partial(write_torch_weights, arrays=_state_dict(arrays))
    elif weights.architecture and asked.input_channels:
        metadata = _grey_metadata(source, arch)
        save = partial(fill_checkpoint, parameters=_parameters(arrays), metadata=metadata)
    elif weights.architecture:
        _check_pools(source, arch, zoo_pools(arch), "the model zoo's networks")
        save = partial(fill_checkpoint, parameters=_parameters(arrays), metadata=None)
    else:
        names = _class_names(asked, weights, arch.num_classes)
        torchvisions = bool(named and named.is_torchvision and not asked.pretrained_cfg)
        preprocessing, origin = input_of(weights, arch, asked.pretrained_cfg, is_torchvisions=torchvisions)
        described = f"; input {preprocessing.shape_in_words()}, {origin}"
        save = partial(fill_checkpoint, parameters=_parameters(arrays), metadata=_metadata(arch, names, preprocessing))

    def write(temporary: Path) -> None:
        save(temporary)
        _verify(temporary, arrays, target)

    write_new(target, write)
    print(
        f"{target}: {arch.net}, {arch.num_classes} classes, {arch.transition_pool} pools in its transitions; "
        f"{len(arrays)} arrays of {source}, read back and equal bit for bit" + described
    )


def _class_names(asked: argparse.Namespace, weights: Weights, num_classes: int) -> tuple[str, ...]:
    """Those of --class_names, else those of timm's description of PyTorch's weights, else class_0, class_1, ..."""
    described = asked.class_names is None and not weights.is_from_zoo
    named = label_names(weights.path, asked.pretrained_cfg, num_classes) if described else ()
    return named or read_class_names(asked.class_names, num_classes)


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
    parser.add_argument("source", metavar="SOURCE", help=argparse.SUPPRESS)
    parser.add_argument("target", type=Path, metavar="TARGET", help=argparse.SUPPRESS)
    parser.add_argument("--class_names", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--net", choices=NETWORKS, default="", help=argparse.SUPPRESS)
    parser.add_argument("--entry", default="", help=argparse.SUPPRESS)
    parser.add_argument("--reset_head", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--input_channels", type=int, choices=(1,), help=argparse.SUPPRESS)
    parser.add_argument("--pretrained_cfg", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--transition_pool", choices=("avg", "max"), help=argparse.SUPPRESS)
    parser.add_argument("--stem_pool", choices=("pad", "same"), help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def _check(source: Path | None, target: Path) -> None:
    for path, suffixes in ((source, (*SUFFIXES, *ALSO_PICKLED)), (target, SUFFIXES)):
        if path and path.suffix not in suffixes:
            raise UsageError(f"{path} is of no known kind; expected a name that ends in {', '.join(suffixes)}")
    require_new(target)


def _check_flags(asked: argparse.Namespace, weights: Weights) -> None:
    from_zoo = weights.is_from_zoo
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


def _grey_metadata(source: Path, arch: Architecture) -> dict[str, object]:
    checkpoint = load_checkpoint(source)
    card = model_card_of(checkpoint)
    run_config = checkpoint.metadata.get(RUN_CONFIG)
    known = run_config if isinstance(run_config, Mapping) else {}
    kept = {key: known[key] for key in ("net", "dataset", "eval_data_dir") if key in known}
    card = replace(card, architecture=arch, preprocessing=card.preprocessing.grey())
    return {**card.to_metadata(), RUN_CONFIG: kept | {"input_channels": 1}}


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
