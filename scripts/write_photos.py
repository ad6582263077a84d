"""Write 352 JPEG pictures in two class folders, parts of scikit-learn's two photographs, to try --dataset folder.

python scripts/write_photos.py DIR
python scripts/write_photos.py DIR/train DIR/val      (every fifth picture is held out, in the second folder)
python train.py --net densenet121 --dataset folder --train_data_dir DIR/train --max_epoch 1 --log_interval 5
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

sys.path.insert(0, str(Path(__file__).parents[1]))

from src.utils.errors import UsageError, run

PICTURES_PER_CLASS, SIDE = 176, 300  # 352 pictures: eleven batches of 32
HELD_OUT_EVERY = 5


def main(argv: Sequence[str]) -> None:
    """Write FOLDER/china and FOLDER/flower; with a second folder the held-out pictures go there."""
    if not 1 <= len(argv) <= 2 or any(word.startswith("-") for word in argv):
        raise UsageError("usage: python scripts/write_photos.py DIR [HELD_OUT]")
    folder, held_out = Path(argv[0]), Path(argv[-1])
    random = np.random.default_rng(0)
    for name, photograph in zip(("china", "flower"), load_sample_images().images, strict=True):
        for target in {folder, held_out}:
            (target / name).mkdir(parents=True, exist_ok=True)
        height, width = photograph.shape[:2]
        for i in range(PICTURES_PER_CLASS):
            top, left = random.integers(height - SIDE), random.integers(width - SIDE)
            part = photograph[top : top + SIDE, left : left + SIDE]
            target = held_out if i % HELD_OUT_EVERY == 0 else folder
            Image.fromarray(part).save(target / name / f"{name}_{i:03d}.jpg", quality=90)


if __name__ == "__main__":
    sys.exit(run(main))
