"""Flags of the C++ program for one model, a line each, when model, data and labels fit each other.

python -m src.deploy.infer_flags MODEL DATASET DATA_PATH LABEL_FILE [--newest_mindir VERSION]

scripts/run_infer_310.sh asks for them before it builds or runs anything. --newest_mindir: what the MindSpore Lite at
hand can read.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from src.deploy.labels import DATASETS, check_labels, labels_of_folders, read_labels, result_name
from src.deploy.manifest import Manifest, read_manifest
from src.utils.arguments import Parser
from src.utils.errors import ReportedError, run

ANY_BATCH_SIZE = 32  # of a model that takes any


def main(argv: Sequence[str]) -> None:
    """Print the flags for the command line `argv`."""
    parser = Parser("python -m src.deploy.infer_flags MODEL DATASET DATA_PATH LABEL_FILE [FLAGS]", __doc__)
    parser.add_argument("model", type=Path, metavar="MODEL")
    parser.add_argument("dataset", choices=DATASETS, metavar="DATASET")
    parser.add_argument("data_path", type=Path, metavar="DATA_PATH")
    parser.add_argument("label_file", type=Path, metavar="LABEL_FILE")
    parser.add_argument("--newest_mindir", type=int)
    asked = parser.parse_args(argv)
    manifest = read_manifest(asked.model)
    check_model(asked.model, manifest, asked.dataset, asked.newest_mindir)
    labels = read_labels(asked.dataset, asked.label_file)
    if asked.dataset == "cifar10":
        check_labels(
            labels, read_labels("cifar10", asked.data_path).keys(), manifest.architecture.num_classes, "record"
        )
    else:
        check_folder(asked.data_path, labels, manifest)
    print("\n".join(flags(manifest)))


def flags(manifest: Manifest) -> list[str]:
    """The flags that the model itself decides."""
    preprocessing = manifest.preprocessing
    found = [f"--image_size={preprocessing.image_size}", f"--resize={preprocessing.resize}"]
    found += [f"--{name}={','.join(map(repr, getattr(preprocessing, name)))}" for name in ("mean", "std")]
    return found if manifest.batch_size else [*found, f"--batch_size={ANY_BATCH_SIZE}"]


def check_model(model: Path, manifest: Manifest, dataset: str, newest_mindir: int | None) -> None:
    """Raise ReportedError when this is not a MindIR for `dataset`, or newer than `newest_mindir`."""
    if manifest.file_format != "MINDIR":
        raise ReportedError(f"{model} is of the format {manifest.file_format}; export it with --file_format MINDIR")
    if newest_mindir and manifest.mindir_version != newest_mindir:
        raise ReportedError(
            f"{model} is MindIR version {manifest.mindir_version}, but this MindSpore Lite reads version "
            f"{newest_mindir}; export it with --mindir_version {newest_mindir}, or set LITE_HOME to a newer one"
        )
    # A model trained on a list of pictures takes them as one trained on folders does.
    trained_on = "folder" if manifest.dataset == "list" else manifest.dataset
    if dataset != trained_on:
        raise ReportedError(f"DATASET is {dataset}, but {model} was trained on {manifest.dataset}; give {trained_on}")


def check_folder(folder: Path, labels: Mapping[str, int], manifest: Manifest) -> None:
    """Raise ReportedError when the labels are not of these pictures, or number the classes otherwise than the model."""
    found = labels_of_folders(folder)
    check_labels(labels, {result_name(name) for name, *_ in found}, manifest.architecture.num_classes, "picture")
    numbers = {name: number for number, name in enumerate(manifest.class_names)}
    for name, of, _ in found:
        label = labels[result_name(name)]
        if numbers.get(of, label) != label:
            raise ReportedError(
                f"{of}/{name} has the label {label}, but {of} is the model's class {numbers[of]}; if {folder} lacks a "
                "class of the model, add an empty folder of that name, and write the labels again"
            )


if __name__ == "__main__":
    sys.exit(run(main))
