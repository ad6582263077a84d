"""The commands as the tests call them: a network and data set so small that a training run takes two seconds."""

import hashlib
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import src.datasets.digits as bundled
import train
from src.training.evaluation import PredictStep
from src.training.step import TrainStep

ROOT = Path(__file__).parents[1]
NETWORK = ["--net", "densenet100", "--block_config", "1,1", "--growth_rate", "4", "--stem_features", "8"]
TINY = [*NETWORK, *["--dataset", "digits", "--image_size", "8", "--max_epoch", "1", "--per_batch_size", "256"]]
HELD_OUT_DIGITS = 355
FEW_HELD_OUT = 40
WHOLE_PART = bundled._part


def train_tiny(output: Path, *flags: object) -> Path:
    """Train the tiny network with `flags`, an argument each, and return the run's folder, the only one in `output`."""
    train.main([*TINY, *map(str, flags), "--save_ckpt_path", str(output)])
    return only(output)


def compute_nothing(patch: pytest.MonkeyPatch) -> None:
    """Have the steps of train.py answer a loss of 1 and leave the weights alone: nothing is compiled."""
    patch.setattr(TrainStep, "__call__", lambda *_: (ms.Tensor(1.0), ms.Tensor(True), ms.Tensor(0.5)))


def answer_nothing(patch: pytest.MonkeyPatch) -> None:
    """Have evaluations see logits of 0, of the first class therefore."""

    def logits(step: PredictStep, images: np.ndarray) -> np.ndarray:
        return np.zeros((len(images), step.network.architecture.num_classes), np.float32)

    patch.setattr(PredictStep, "logits", logits)


def few_digits(patch: pytest.MonkeyPatch) -> None:
    """Have the data set digits hold about a tenth of its pictures, 145 and FEW_HELD_OUT of them, of all classes.

    Asked for again inside, it holds the same: session and module fixtures want it in whatever order a worker runs them.
    """
    every = {"train": 10, "eval": 9}
    patch.setattr(bundled, "_part", lambda split: tuple(of[:: every[split]] for of in WHOLE_PART(split)))


def only(folder: Path) -> Path:
    """The one folder in `folder`."""
    (found,) = (path for path in folder.iterdir() if path.is_dir())
    return found


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below `folder`, by relative path; of a log, which may grow, the empty text."""
    return {
        str(path.relative_to(folder)): "" if path.suffix == ".log" else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def weights(checkpoint: Path) -> dict[str, np.ndarray]:
    """Every array in a checkpoint file, by name."""
    loaded = ms.load_checkpoint(str(checkpoint))
    return {name: value.asnumpy() for name, value in loaded.items() if isinstance(value, ms.Tensor)}


def write_pictures(folder: Path, classes: tuple[str, ...], each: int) -> Path:
    """Class folders of `each` JPEGs, real handwritten digits: class number k shows the digit k."""
    digits = load_digits()
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i, picture in enumerate(digits.images[digits.target == label][:each]):
            Image.fromarray((picture * 15.9375).astype(np.uint8)).resize((32, 32)).save(folder / name / f"{i}.jpg")
    return folder


def write_cifar(file: Path, count: int, label: int | None = None) -> None:
    """`count` records of CIFAR-10's binary version that show digits, with their own labels or all with `label`."""
    digits = load_digits()
    grey = np.kron(digits.images[:count], np.ones((4, 4))) * 15.9375
    pixels = np.repeat(grey.reshape(count, 1, 1024), 3, axis=1).reshape(count, 3072)
    labels = digits.target[:count] if label is None else np.full(count, label)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(np.concatenate([labels[:, None], pixels], axis=1).astype(np.uint8).tobytes())
