"""A folder of class folders, as ImageNet: a folder's name is a class, the pictures directly inside are its images."""

import os
from pathlib import Path

import numpy as np

from src.datasets.class_names import require_distinct
from src.datasets.identity import identity_of_files
from src.datasets.image_files import ImageFiles
from src.datasets.listing import EXTENSIONS, NESTED, UNDECODABLE, LeftOut, class_folders, picture_names
from src.datasets.packed_names import PackedNames
from src.datasets.preprocessing_choices import FILES
from src.datasets.source import Source
from src.utils.errors import ReportedError
from src.utils.shown import printable


def open_folder(dataset: str, path: Path) -> Source:
    """Open `path`. Classes are in the order of `class_folders`, files within a class in that of their names.

    Every class folder is a class, also an empty one. Raises ReportedError, or OSError for what cannot be listed.
    """
    left_out, names, counts = LeftOut(), PackedNames(), []
    undecodable: list[str] = []
    folders = class_folders(path, left_out)
    if not folders:
        raise ReportedError(f"{printable(path)} has no class folders; expected one folder of pictures for each class")
    class_names = tuple(map(printable, folders))
    require_distinct(class_names, printable(path))
    for folder in folders:
        files = picture_names(path / folder, left_out)
        prefix = os.fsencode(folder) + b"/"
        names.extend(prefix + os.fsencode(file) for file in files)
        counts.append(len(files))
        undecodable += [f"{folder}/{file}" for file in files if file.lower().endswith(UNDECODABLE)]
    if not names:
        deeper = left_out.example.get(NESTED)
        advice = f"; there are some one folder deeper, as {deeper}: give the folder above those" if deeper else ""
        raise ReportedError(
            f"the {len(folders)} class folders of {printable(path)} hold no pictures ({', '.join(EXTENSIONS)}){advice}"
        )
    images = ImageFiles(path, names)
    return Source(
        dataset,
        class_names,
        np.repeat(np.arange(len(folders), dtype=np.int32), counts),
        form=FILES,
        read=images,
        image_name=images.name,
        noticed=images.noticed,
        content=images.content,
        content_size=images.size,
        state=images.state,
        origin=printable(path),
        identity=lambda: identity_of_files(path, names),
        remarks=(f"left out: {', '.join(found)}",) if (found := left_out.sentences()) else (),
        undecodable=(len(undecodable), printable(path / undecodable[0]) if undecodable else ""),
    )
