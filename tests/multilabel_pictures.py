"""A small set of radiograph-like pictures with several labels each, made of scikit-learn's photographs."""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

CLASSES, SIDE = 14, 32


def write_radiographs(folder: Path, count: int, *, unknown: float = 0.0, seed: int = 0) -> Path:
    """Write grey 16-bit PNGs and labels.csv, a column a class; return the latter. 14 kinds of stripes lie over parts of
    photographs, each with probability 0.2; of the labels a share of `unknown` is empty. Four pictures are a patient.
    """
    random = np.random.default_rng(seed)
    photographs = [photograph.mean(2) for photograph in load_sample_images().images]
    down, right = np.mgrid[:SIDE, :SIDE]
    angles = np.pi * np.arange(7) / 7
    stripes = [np.cos(2 * np.pi * (down * np.sin(a) + right * np.cos(a)) / period) for period in (3, 6) for a in angles]
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["image,group," + ",".join(f"finding {k}" for k in range(CLASSES))]
    for i in range(count):
        photograph = photographs[i % 2]
        top, left = (random.integers(side - 4 * SIDE) for side in photograph.shape)
        picture = photograph[top : top + 4 * SIDE : 4, left : left + 4 * SIDE : 4] * 0.2 + 100
        shown = random.random(CLASSES) < 0.2
        picture = picture + 25 * sum((stripes[k] for k in np.flatnonzero(shown)), np.zeros((SIDE, SIDE)))
        Image.fromarray((picture.clip(0, 255) * 257).astype(np.uint16)).save(folder / f"{i}.png")
        labels = np.where(random.random(CLASSES) < unknown, "", shown.astype(int).astype(str))
        rows.append(f"{i}.png,{i // 4}," + ",".join(labels))
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder / "labels.csv"
