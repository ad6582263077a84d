"""Flags of the C++ program for one model, a line each, when model, data and labels fit each other.

python -m src.deploy.infer_flags MODEL DATASET DATA_PATH LABEL_FILE [--newest_mindir VERSION] [--class_names FILE]
    [--links DIR]

scripts/run_infer_310.sh asks for them before it builds or runs anything. --newest_mindir: what the MindSpore Lite at
hand can read. --engine: the model is to be one of the CPU engine. With DATASET pictures, one picture or a folder of
them, nothing is labelled and LABEL_FILE is -; the names of the model's classes go to --class_names. With DATASET csv
and pictures in folders below DATA_PATH, links to those that LABEL_FILE names are made in --links.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from src.datasets.cifar10 import find_folder, read_class_names
from src.datasets.class_names import Wording, are_numbers, match
from src.datasets.listing import class_folders, picture_names
from src.datasets.pictures import open_pictures
from src.deploy.labels import (
    DATASETS,
    check_labels,
    labels_of_folders,
    link_pictures,
    outputs_of_folders,
    read_csv_labels,
    read_labels,
    result_name,
)
from src.deploy.manifest import Manifest, read_manifest
from src.utils.arguments import Parser
from src.utils.errors import ReportedError, run
from src.utils.files import is_folder, write_text_atomically
from src.utils.shown import printable

PICTURES = "pictures"  # that nobody has labelled
ANY_BATCH_SIZE = 32  # of a model that takes any


def main(argv: Sequence[str]) -> None:
    """Print the flags for the command line `argv`."""
    parser = Parser("python -m src.deploy.infer_flags MODEL DATASET DATA_PATH LABEL_FILE [FLAGS]", __doc__)
    parser.add_argument("model", type=Path, metavar="MODEL")
    parser.add_argument("dataset", choices=(*DATASETS, PICTURES), metavar="DATASET")
    parser.add_argument("data_path", type=Path, metavar="DATA_PATH")
    parser.add_argument("label_file", type=Path, metavar="LABEL_FILE")
    parser.add_argument("--newest_mindir", type=int)
    parser.add_argument("--engine", action="store_true")
    parser.add_argument("--class_names", type=Path)
    parser.add_argument("--links", type=Path)
    asked = parser.parse_args(argv)
    manifest = read_manifest(asked.model)
    check_model(asked.model, manifest, asked.dataset, asked.newest_mindir, engine=asked.engine)
    found = flags(manifest)
    if asked.dataset == PICTURES:
        open_pictures(asked.data_path)  # raises where there are none
        if asked.class_names:
            write_text_atomically(asked.class_names, "\n".join(manifest.class_names) + "\n")
            found.append(f"--class_names={asked.class_names}")
    else:
        check_labelled(asked.dataset, asked.data_path, asked.label_file, manifest, asked.links)
    print("\n".join(found))


def check_labelled(dataset: str, data: Path, label_file: Path, manifest: Manifest, links: Path | None = None) -> None:
    """Raise ReportedError when data, labels and model do not fit each other. links: a folder that is made for csv
    where `data` has no pictures directly in it, see `link_pictures`.
    """
    if dataset == "csv":
        if links and _has_only_folders(data):
            link_pictures(label_file, data, links)
            data = links
        pictures = open_pictures(data)
        names = {result_name(pictures.image_name(i)) for i in range(len(pictures))}
        check_labels(read_csv_labels(label_file, manifest), names, manifest.architecture.num_classes, "picture")
        return
    labels = read_labels(dataset, label_file)
    if dataset == "cifar10":
        check_cifar10(data, manifest)
        check_labels(labels, read_labels("cifar10", data).keys(), manifest.architecture.num_classes, "record")
    else:
        check_folder(data, labels, manifest)


def _has_only_folders(path: Path) -> bool:
    try:
        return not picture_names(path)
    except OSError:  # a picture, or what its reader says more of
        return False


def flags(manifest: Manifest) -> list[str]:
    """The flags that the model itself decides."""
    preprocessing = manifest.preprocessing
    found = [f"--image_size={preprocessing.image_size}", f"--resize={preprocessing.resize}"]
    found += [f"--{name}={getattr(preprocessing, name)}" for name in ("resize_mode", "interpolation", "pixels")]
    found += [f"--{name}={','.join(map(repr, getattr(preprocessing, name)))}" for name in ("mean", "std")]
    found.append(f"--activation={manifest.activation}")
    return found if manifest.batch_size else [*found, f"--batch_size={ANY_BATCH_SIZE}"]


def check_model(
    model: Path, manifest: Manifest, dataset: str, newest_mindir: int | None, *, engine: bool = False
) -> None:
    """Raise ReportedError when this is not a MindIR for `dataset` (or a file of the CPU engine, if `engine`), or newer
    than `newest_mindir`.
    """
    wanted = "ENGINE" if engine else "MINDIR"
    if manifest.file_format != wanted:
        raise ReportedError(f"{model} is of the format {manifest.file_format}; export it with --file_format {wanted}")
    if newest_mindir and manifest.mindir_version != newest_mindir:
        raise ReportedError(
            f"{model} is MindIR version {manifest.mindir_version}, but this MindSpore Lite reads version "
            f"{newest_mindir}; export it with --mindir_version {newest_mindir}, or set LITE_HOME to a newer one"
        )
    # imagenet and folder both mean class folders; one trained on a list of pictures takes them too.
    kinds = dict.fromkeys(("imagenet", "folder", "list", "csv", "mindrecord"), "folder")
    if manifest.activation == "sigmoid" and dataset not in (PICTURES, "csv"):
        raise ReportedError(
            f"DATASET is {dataset}, but {model} answers a yes or no to each class; give csv or pictures"
        )
    if dataset == "csv":
        return
    trained_on = kinds.get(manifest.dataset, manifest.dataset)
    if dataset != PICTURES and trained_on not in DATASETS:
        raise ReportedError(
            f"DATASET is {dataset}, but {model} was trained on {manifest.dataset}, which the C++ program does not "
            "read; give pictures, or evaluate with eval_onnx.py"
        )
    if dataset != PICTURES and kinds.get(dataset, dataset) != trained_on:
        raise ReportedError(f"DATASET is {dataset}, but {model} was trained on {manifest.dataset}; give {trained_on}")


def check_folder(folder: Path, labels: Mapping[str, int], manifest: Manifest) -> None:
    """Raise ReportedError when the labels are not of these pictures, or number the classes otherwise than the model."""
    found = labels_of_folders(folder)
    check_labels(labels, {result_name(name) for name, *_ in found}, manifest.architecture.num_classes, "picture")
    guess = ""
    if manifest.dataset == "list" and not are_numbers(class_folders(folder)):
        guess = "the model's classes are the numbers of a text list, so the label file's numbers are taken as they are"
    else:
        outputs, guess = outputs_of_folders(folder, manifest)
        for name, of, _ in found:
            label = labels[result_name(name)]
            if not guess and outputs[of] != label:
                shown = name if "/" in name else f"{of}/{name}"
                raise ReportedError(
                    f"{shown} has the label {label}, but {of} is the model's class {outputs[of]}; write the labels "
                    "again with write_labels --model MODEL"
                )
    if guess:
        print(f"warning: {guess}", file=sys.stderr)


def check_cifar10(path: Path, manifest: Manifest) -> None:
    """Raise ReportedError when the model numbers CIFAR-10's classes otherwise than the records in `path`."""
    own = read_class_names(find_folder(path) if is_folder(path) else path.parent)
    found = match(own, manifest.class_names, Wording(printable(path), "the data set cifar10"))
    if found.guess:
        print(f"warning: {found.guess}", file=sys.stderr)
    if found.outputs.tolist() != list(range(len(own))):
        raise ReportedError(f"the model numbers the classes of {path} otherwise than the records; train it on cifar10")


if __name__ == "__main__":
    sys.exit(run(main))
