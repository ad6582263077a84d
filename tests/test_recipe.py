"""The data pipeline's ingredients in one run: resumed in the middle, evaluated and exported as it was meant."""

import csv
import shutil

import numpy as np
import pytest
from augmented import augmented_batches
from commands import only, train_tiny, weights
from mindspore import Tensor

import eval as evaluation
import train
from src.datasets.classification import worker_count
from src.datasets.sources import open_source
from src.model_utils.config import parse
from src.network.densenet import DenseNet
from src.training.model_card import model_card_of, training_input_of
from src.utils.checkpoint import load_checkpoint, load_weights
from src.utils.errors import UsageError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("little_to_read")]
FLAGS = [
    *("--max_epoch", 2, "--per_batch_size", 50, "--ckpt_interval", 1, "--eval_data_dir", "bundled"),
    *("--progressive_size", "4,8", "--eval_image_size", 12, "--auto_augment", "trivial", "--random_erasing", 0.5),
    *("--ema_decay", 0.5, "--augmentation_streams", "image"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train_tiny(tmp_path_factory.mktemp("recipe"), *FLAGS)


@pytest.mark.parametrize(("position", "workers"), [("0-1_1.ckpt", 0), ("0-2_1.ckpt", 1)])
def test_a_resumed_run_ends_with_the_same_bits_for_any_number_of_workers(run, position, workers, tmp_path):
    shutil.copy(run / position, tmp_path)
    flags = ["--num_parallel_workers", str(workers), "--save_ckpt_path", str(tmp_path / "out")]
    train.main(["--resume", str(tmp_path / position), *flags])
    resumed = only(tmp_path / "out")
    assert "are now the means over 2 batches" in (resumed / "train.log").read_text()
    expected, found = (weights(folder / "0-2_2.ckpt") for folder in (run, resumed))
    assert {name: value.tobytes() for name, value in found.items()} == {
        name: value.tobytes() for name, value in expected.items()
    }


def test_the_evaluation_s_size_is_kept_with_the_checkpoint_and_the_training_s_beside_it(run, tmp_path):
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    checkpoint = load_checkpoint(run / "0-2_2.ckpt")
    assert model_card_of(checkpoint).preprocessing.image_size == 12
    assert training_input_of(checkpoint).image_size == 8
    (accuracy,) = evaluation.main(
        ["--ckpt_files", str(run / "0-2_2.ckpt"), "--save_ckpt_path", str(tmp_path / "out")]
    ).values()
    assert accuracy.top1 == pytest.approx(float(rows[-1]["ema_top1"]))
    log = (run / "train.log").read_text()
    assert "evaluated, and to be used, with the input 3 x 12 x 12" in log
    assert log.count("the first step, with compilation") == 2  # of each size


@pytest.mark.parametrize("which", ["raw", "ema"])
def test_the_last_statistics_are_of_the_last_size_and_of_the_weights_that_have_them(run, which):
    checkpoint = load_checkpoint(run / "0-2_2.ckpt")
    network = DenseNet(model_card_of(checkpoint).architecture)
    load_weights(network, checkpoint, weights=which)
    batches = augmented_batches(
        open_source("digits", "", split="train"), training_input_of(checkpoint), augmentation="auto", seed=1, epoch=2,
        batch_size=50, workers=worker_count(), auto_augment="trivial", random_erasing=0.5, streams="image",
    )  # fmt: skip
    stem = network.backbone.features
    expected = np.mean([stem.conv0(Tensor(images)).asnumpy().mean((0, 2, 3)) for images, *_ in batches], 0)
    np.testing.assert_allclose(stem.norm0.moving_mean.asnumpy(), expected, atol=1e-5)


def test_sizes_that_do_not_end_with_the_input_s_are_wrong_usage(tmp_path):
    with pytest.raises(UsageError, match="found progressive_size 4,6 with image_size 8, expected image_size as the"):
        train_tiny(tmp_path, "--progressive_size", "4,6", "--max_epoch", 2)
    assert not list(tmp_path.iterdir())


def test_an_export_with_the_run_s_configuration_has_the_evaluation_s_size(run):
    config = parse("export", ["--ckpt_file", "a", "--config_path", str(run / "config.yaml")])
    assert (config.image_size, config.given_geometry()["image_size"]) == (8, 12)
    assert parse("train", ["--config_path", str(run / "config.yaml")]).given_geometry()["image_size"] == 8
