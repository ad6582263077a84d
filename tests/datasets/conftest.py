"""Real pictures for these tests: crops of scikit-learn's two photographs, and CIFAR files made of its digits."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images


@pytest.fixture(scope="session")
def photographs() -> list[np.ndarray]:
    """Two photographs, uint8 (427, 640, 3): a Chinese temple and a flower."""
    return [np.asarray(image) for image in load_sample_images().images]


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory, photographs) -> Path:
    """Class folders 'flower' (6 JPEG), 'temple 塔' (5 PNG) and 'empty' (a text file), pictures of different sizes."""
    root = tmp_path_factory.mktemp("photo folder")
    for name, photograph, suffix, count in (
        ("temple 塔", photographs[0], "png", 5),
        ("flower", photographs[1], "jpg", 6),
    ):
        (root / name).mkdir()
        for k in range(count):
            crop = Image.fromarray(photograph[10 * k : 200 + 15 * k, 20 * k : 300 + 7 * k])
            crop.save(root / name / f"{name} {k}.{suffix}")
    (root / "empty").mkdir()
    (root / "empty" / "notes.txt").write_text("not a picture")
    (root / ".cache").mkdir()
    (root / "flower" / "._flower 0.jpg").write_bytes(b"macOS leaves such files")
    return root


@pytest.fixture(scope="session")
def cifar_records() -> tuple[np.ndarray, np.ndarray]:
    """Pictures uint8 (60, 32, 32, 3) and labels (60,): enlarged digits, each channel of its own brightness."""
    digits = load_digits()
    grey = np.kron(digits.images[:60], np.ones((1, 4, 4)))[..., None] * 15.9375
    return (grey * [1.0, 0.5, 0.25]).astype(np.uint8), digits.target[:60]


def write_cifar(file: Path, pictures: np.ndarray, labels: np.ndarray) -> None:
    rows = pictures.transpose(0, 3, 1, 2).reshape(len(pictures), -1)
    file.write_bytes(np.concatenate([labels.astype(np.uint8)[:, None], rows], axis=1).tobytes())


@pytest.fixture
def cifar_folder(tmp_path, cifar_records) -> Path:
    """A cifar-10-batches-bin with training files of 7 and 30 records and 23 test records, as no real one has."""
    pictures, labels = cifar_records
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    write_cifar(folder / "data_batch_1.bin", pictures[:7], labels[:7])
    write_cifar(folder / "data_batch_2.bin", pictures[7:37], labels[7:37])
    write_cifar(folder / "test_batch.bin", pictures[37:], labels[37:])
    return folder
