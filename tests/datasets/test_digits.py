"""The bundled digits: the split is fixed, and no picture is in both parts."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_sample_images

from src.datasets import digits as module
from src.datasets.preprocessing import DIGITS_MEAN, DIGITS_STD
from src.datasets.sources import open_source
from src.utils import scikit_learn
from src.utils.errors import ReportedError


def test_parts_are_disjoint_complete_and_stratified():
    train, held_out = (open_source("digits", "", split=split) for split in ("train", "eval"))
    assert (len(train), len(held_out)) == (1442, 355)
    names = {source.image_name(i) for source in (train, held_out) for i in range(len(source))}
    assert names == {f"digits[{i}]" for i in range(1797)}
    share = np.bincount(held_out.labels) / np.bincount(load_digits().target)
    assert share.min() > 0.19
    assert share.max() < 0.205


def test_pictures_are_the_bundled_ones_enlarged_and_scaled_to_0_to_255():
    digits = load_digits()
    source = open_source("digits", "bundled", split="eval")
    assert source.class_names == tuple("0123456789")
    for i in (0, 100, 354):
        original = int(source.image_name(i)[len("digits[") : -1])
        pixels = source.read(i)
        assert (pixels.shape, pixels.dtype) == ((32, 32, 3), np.uint8)
        assert source.labels[i] == digits.target[original]
        assert (pixels == pixels[..., :1]).all()
        shrunk = pixels[..., 0].reshape(8, 4, 8, 4).mean((1, 3)) * 16 / 255
        assert np.corrcoef(shrunk.ravel(), digits.images[original].ravel())[0, 1] > 0.95
        assert abs(shrunk.mean() - digits.images[original].mean()) < 0.25


def test_the_statistics_are_those_of_the_training_part():
    source = open_source("digits", "", split="train")
    pixels = np.stack([source.read(i) for i in range(len(source))]) / 255
    np.testing.assert_allclose(pixels.mean((0, 1, 2)), DIGITS_MEAN, atol=5e-5)
    np.testing.assert_allclose(pixels.std((0, 1, 2)), DIGITS_STD, atol=5e-5)


def test_they_are_those_of_scikit_learn_which_is_not_imported():
    images, labels = module._all()
    assert (images == load_digits().images).all() and (labels == load_digits().target).all()
    assert np.array_equal(scikit_learn.sample_photographs(), load_sample_images().images)
    code = (
        "import sys; from src.datasets.digits import open_digits; open_digits('eval'); print('sklearn' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True).stdout == b"False\n"


@pytest.mark.parametrize(
    ("content", "message"), [(None, "which is missing"), (b"no archive", "cannot be read from .*Not a gzipped file")]
)
def test_without_its_file_it_is_said(content, message, tmp_path, monkeypatch):
    package = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    if content:
        (tmp_path / "datasets/data").mkdir(parents=True)
        (tmp_path / "datasets/data/digits.csv.gz").write_bytes(content)
    monkeypatch.setattr(scikit_learn, "find_spec", lambda _: package if content else None)
    with pytest.raises(ReportedError, match=message):
        module._all.__wrapped__()  # not what was read before
    with pytest.raises(ReportedError, match=r"which is missing|cannot be read from .*china\.jpg"):
        scikit_learn.sample_photographs()
