"""Tiny sets in the layouts of ChestX-ray14 and CheXpert: their folders, first lines and kinds of files, the grey
pictures of `multilabel_pictures.py`.
"""

import csv
from pathlib import Path

import numpy as np
from multilabel_pictures import write_radiographs
from PIL import Image

# fmt: off
CHEST_XRAY14 = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis", "Hernia",
    "Infiltration", "Mass", "Nodule", "Pleural_Thickening", "Pneumonia", "Pneumothorax",
)
CHEXPERT = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation",
    "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices",
)
# fmt: on
_HEADER_14 = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
)


def write_chest_xray14(root: Path, count: int) -> Path:
    """`count` pictures in two of the folders that the archives make, two a patient, one a transparent PNG; write
    Data_Entry_2017.csv and test_list.txt, of every fourth patient; return the former.
    """
    rows, listed = [_HEADER_14], []
    for i, (picture, shown) in enumerate(_pictures(root, count)):
        name = f"{i // 2 + 1:08d}_{i % 2:03d}.png"
        folder = root / f"images_{1 + 2 * i // count:03d}" / "images"
        folder.mkdir(parents=True, exist_ok=True)
        (picture.convert("RGBA") if i == 1 else picture).save(folder / name)
        found = "|".join(np.array(CHEST_XRAY14)[shown]) or "No Finding"
        rows.append(f"{name},{found},{i % 2},{i // 2 + 1},{40 + i % 50:03d},M,PA,2682,2749,0.143,0.143,")
        listed += [name] if i // 2 % 4 == 3 else []
    (root / "Data_Entry_2017.csv").write_text("\n".join(rows) + "\n")
    (root / "test_list.txt").write_text("\n".join(listed))  # no end of line at its end
    return root / "Data_Entry_2017.csv"


def write_chexpert(root: Path, count: int) -> Path:
    """CheXpert-v1.0-small below `root`: train.csv, where what is not shown is empty, 0.0 or -1.0, and valid.csv, of a
    quarter as many pictures, without an empty one; return its folder. Every eighth is said to show nothing.
    """
    folder = root / "CheXpert-v1.0-small"
    pictures = _pictures(root, count + count // 4)
    random = np.random.default_rng(1)
    for part, number in (("train", count), ("valid", count // 4)):
        rows = [["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT]]
        for i in range(number):
            picture, shown = next(pictures)
            patient = f"patient{(64540 if part == 'valid' else 0) + i // 2 + 1:05d}"
            view = ("view1_frontal.jpg", "view2_lateral.jpg")[i % 2]
            place = Path(part, patient, "study1", view)
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            picture.save(folder / place, quality=90)
            shown[:] &= i % 8 > 0
            shown[0] = not shown[1:].any()
            others = random.choice(["", "0.0", "-1.0"], len(CHEXPERT), p=[0.5, 0.4, 0.1]) if part == "train" else "0.0"
            labels = np.where(shown, "1.0", others)
            labels[0] = labels[0] if shown[0] or part == "valid" else ""
            rows.append([f"CheXpert-v1.0-small/{place}", "Female", "68", "Frontal", "AP", *labels])
        with (folder / f"{part}.csv").open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
    return folder


def _pictures(root: Path, count: int):
    """Pairs of an 8-bit grey picture and which of 14 kinds of stripes it shows, bool (14,)."""
    labels = write_radiographs(root / "made", count)
    with labels.open() as file:
        rows = list(csv.reader(file))[1:]
    for name, _, *shown in rows:
        with Image.open(labels.with_name(name)) as deep:
            yield Image.fromarray((np.asarray(deep) >> 8).astype(np.uint8)), np.array(shown) == "1"
