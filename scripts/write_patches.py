"""Write small grey patches of scikit-image's photographs in class folders: one class a photograph.

  pip install scikit-image                    (its package carries the photographs)
  python scripts/write_patches.py textures DIR [PATCHES]
  python train.py --net densenet100 --dataset folder --train_data_dir DIR/train --eval_data_dir DIR/val

textures: brick, grass, gravel, coins and the moon, with 60 patches of each to train on, or as many as given.
photographs: nine others, with 400, to pretrain on. 100 of each are held out, from the right quarter of a photograph,
which no patch to train on touches. Every patch has the same mean and contrast, so that only its texture tells.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from src.utils.errors import ReportedError, UsageError, run

SETS = {
    "textures": (60, ("brick", "grass", "gravel", "coins", "moon")),
    "photographs": (400, ("astronaut", "camera", "cat", "clock", "coffee", "hubble_deep_field",
                          "immunohistochemistry", "retina", "rocket")),
}  # fmt: skip
HELD_OUT, HELD_OUT_SHARE = 100, 0.25
SIDE, MEAN, CONTRAST = 32, 128.0, 40.0


def main(argv: Sequence[str]) -> None:
    """Write DIR/train/CLASS and DIR/val/CLASS. Raises UsageError, ReportedError without scikit-image."""
    if not 2 <= len(argv) <= 3 or argv[0] not in SETS or not (len(argv) == 2 or argv[2].isdecimal()):
        raise UsageError(f"usage: python scripts/write_patches.py {'|'.join(SETS)} DIR [PATCHES]")
    number, names = SETS[argv[0]]
    number = int(argv[2]) if len(argv) == 3 else number
    try:
        from skimage import data
    except ImportError as error:
        raise ReportedError(f"scikit-image is not installed ({error}); run pip install scikit-image") from error
    for name in names:
        photograph = np.asarray(Image.fromarray(getattr(data, name)()).convert("L"))
        left, right = halves(photograph)
        for part, half, count in (("train", left, number), ("val", right, HELD_OUT)):
            folder = Path(argv[1], part, name)
            folder.mkdir(parents=True, exist_ok=True)
            for i, patch in enumerate(patches(half, count, np.random.default_rng(0))):
                Image.fromarray(patch).save(folder / f"{name}_{i:03d}.png")


def halves(photograph: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is to train on, and the right HELD_OUT_SHARE of a photograph (H, W)."""
    border = round(photograph.shape[1] * (1 - HELD_OUT_SHARE))
    return photograph[:, :border], photograph[:, border:]


def patches(photograph: np.ndarray, count: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    """`count` parts (SIDE, SIDE) uint8 of (H, W) from random places that are not of one colour, with the mean MEAN and
    the standard deviation CONTRAST as far as 0 and 255 allow.
    """
    height, width = photograph.shape
    while count:
        top, left = random.integers(height - SIDE + 1), random.integers(width - SIDE + 1)
        part = photograph[top : top + SIDE, left : left + SIDE].astype(np.float64)
        if part.std() > 1:
            count -= 1
            shown = (part - part.mean()) / part.std() * CONTRAST + MEAN
            yield np.clip(np.rint(shown), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    sys.exit(run(main))
