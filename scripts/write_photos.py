"""Write 352 JPEG pictures in two class folders, parts of scikit-learn's two photographs, to try --dataset folder.

python scripts/write_photos.py DIR
python train.py --net densenet121 --dataset folder --train_data_dir DIR --max_epoch 1 --log_interval 5
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

PICTURES_PER_CLASS, SIDE = 176, 300  # 352 pictures: eleven batches of 32


def main(folder: Path) -> None:
    """Write `folder`/china and `folder`/flower."""
    random = np.random.default_rng(0)
    for name, photograph in zip(("china", "flower"), load_sample_images().images, strict=True):
        (folder / name).mkdir(parents=True, exist_ok=True)
        height, width = photograph.shape[:2]
        for i in range(PICTURES_PER_CLASS):
            top, left = random.integers(height - SIDE), random.integers(width - SIDE)
            part = photograph[top : top + SIDE, left : left + SIDE]
            Image.fromarray(part).save(folder / name / f"{name}_{i:03d}.jpg", quality=90)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
