"""Write small grey patches of scikit-image's photographs in class folders: one class a photograph.

  pip install scikit-image                    (its package carries the photographs)
  python scripts/write_patches.py textures DIR [PATCHES]
  python train.py --net densenet100 --dataset folder --train_data_dir DIR/train --eval_data_dir DIR/val

textures: brick, grass, gravel, coins and the moon, with 60 patches of each to train on, or as many as given.
photographs: nine others, with 400, to pretrain on. 100 of each are held out, from a quarter of a photograph's tiles,
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
HELD_OUT, HELD_OUT_EVERY = 100, 4
LEAST_CONTRAST = 4.0  # of 255: less is noise
TILE, SIDE, MEAN, CONTRAST = 64, 32, 128.0, 40.0


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
        own, held_out = tiles(photograph)
        for part, of, count in (("train", own, number), ("val", held_out, HELD_OUT)):
            folder = Path(argv[1], part, name)
            folder.mkdir(parents=True, exist_ok=True)
            for i, patch in enumerate(patches(of, count, np.random.default_rng(0))):
                Image.fromarray(patch).save(folder / f"{name}_{i:03d}.png")


def tiles(photograph: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The tiles (TILE, TILE) of a photograph (H, W) to train on and those held out, one in HELD_OUT_EVERY."""
    height, width = photograph.shape
    found = [
        photograph[top : top + TILE, left : left + TILE]
        for top in range(0, height - TILE + 1, TILE)
        for left in range(0, width - TILE + 1, TILE)
    ]
    held_out = np.random.default_rng(0).permutation(len(found)) % HELD_OUT_EVERY == 0
    return ([tile for tile, out in zip(found, held_out, strict=True) if not out],
            [tile for tile, out in zip(found, held_out, strict=True) if out])  # fmt: skip


def patches(of: Sequence[np.ndarray], count: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    """`count` parts (SIDE, SIDE) uint8 from random places of random tiles, none of one colour, with the mean MEAN and
    the standard deviation CONTRAST as far as 0 and 255 allow.
    """
    while count:
        tile = of[random.integers(len(of))]
        top, left = random.integers(TILE - SIDE + 1, size=2)
        part = tile[top : top + SIDE, left : left + SIDE].astype(np.float64)
        if part.std() > LEAST_CONTRAST:
            count -= 1
            shown = (part - part.mean()) / part.std() * CONTRAST + MEAN
            yield np.clip(np.rint(shown), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    sys.exit(run(main))
