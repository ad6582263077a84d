"""A folder of class folders, as ImageNet: a folder's name is a class, the pictures directly inside are its images."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src.datasets.class_names import are_unnamed
from src.datasets.image_files import EXTENSIONS, ImageFiles, picture_names, printable
from src.datasets.source import Source
from src.utils.errors import ReportedError


def open_folder(dataset: str, path: Path, class_names: Sequence[str] | None) -> Source:
    """Open `path`; classes and, within a class, files are in the order of their names. Hidden files are left out.

    Without `class_names` every class folder is a class, also an empty one. With them (the network's), a folder that is
    not among them is an error and one that is missing has no images; but a network whose classes are unnamed takes the
    folders as they come. Raises ReportedError, or OSError for what cannot be listed.
    """
    folders = class_folders(path)
    classes = [(printable(folder), picture_names(path / folder)) for folder in folders]
    if not classes:
        raise ReportedError(f"{printable(path)} has no class folders; expected one folder of pictures for each class")
    folder_names = tuple(name for name, _ in classes)
    names = folder_names if class_names is None else tuple(class_names)
    unknown = sorted(set(folder_names) - set(names))
    if unknown and are_unnamed(names):
        names, unknown = folder_names, []
    if unknown:
        raise ReportedError(
            f"{printable(path)} has {len(unknown)} class folders that the network does not know, first {unknown[0]!r}; "
            f"it knows {len(names)} classes, first {names[0]!r}"
        )
    paths = [f"{folder}/{file}" for folder, (_, files) in zip(folders, classes, strict=True) for file in files]
    if not paths:
        raise ReportedError(
            f"the {len(classes)} class folders of {printable(path)} hold no pictures ({', '.join(EXTENSIONS)})"
        )
    number = {name: label for label, name in enumerate(names)}
    labels = np.array([number[name] for name, files in classes for _ in files], np.int32)
    images = ImageFiles(path, paths)
    return Source(dataset, names, labels, True, images, images.name)


def class_folders(path: Path) -> list[str]:
    """Return the names of the folders in `path`, hidden ones left out, sorted. Raises OSError."""
    with os.scandir(path) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
