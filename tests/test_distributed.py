"""Two and four ranks on one machine."""

import csv
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import HELD_OUT_DIGITS, TINY, only, train_tiny, weights
from ranks import run_ranks

import eval as evaluation
import train
from src.utils.checkpoint import load_checkpoint

pytestmark = pytest.mark.slow


AVERAGED = ["--ema_decay", 0.9]
# Four steps an epoch, saved after the second and the fourth, when the ranks' batches are 360 images together.
STEPS = [*TINY, "--augmentation", "none", "--log_interval", 1, "--ckpt_interval", 2, "--per_batch_size"]


@pytest.fixture(scope="module")
def two_ranks(forked, tmp_path_factory) -> tuple[Path, list[str]]:
    """(run folder, output of each rank) of two epochs in which both ranks save, an average of the weights as well."""
    root = tmp_path_factory.mktemp("two_ranks")
    flags = [*STEPS, 180, *AVERAGED, "--max_epoch", 2, "--eval_data_dir", "bundled", "--is_save_on_master", "false"]
    outputs = run_ranks(forked, root / "logs", "train", *flags, "--save_ckpt_path", root / "out")
    return only(root / "out"), outputs


def test_one_folder_holds_what_both_ranks_did(two_ranks):
    run_folder, outputs = two_ranks
    assert "joined the launcher's group as rank 1 of 2" in (run_folder / "train_rank1.log").read_text()
    names = sorted(path.name for path in run_folder.glob("*.ckpt"))
    saved = [f"{rank}-{epoch}_{step}.ckpt" for rank in (0, 1) for epoch in (1, 2) for step in (2, 4)]
    assert names == [*saved, "best.ckpt"]
    assert outputs[0].count(f"tot={HELD_OUT_DIGITS},") == 4  # twice an epoch, by the master only
    assert f"tot={HELD_OUT_DIGITS}," not in outputs[1]
    assert "1442 images of digits, 4 steps an epoch" in outputs[0]  # 2 ranks x 180
    assert [output.count("the C++ kernels are used") for output in outputs] == [1, 0]


def test_both_ranks_have_the_same_weights(two_ranks):
    run_folder, _ = two_ranks
    left, right = weights(run_folder / "0-2_4.ckpt"), weights(run_folder / "1-2_4.ckpt")
    assert list(left) == list(right)
    for name, value in left.items():
        np.testing.assert_array_equal(value, right[name], err_msg=name)


def test_the_saved_checkpoint_reproduces_the_counts(two_ranks, tmp_path, forked):
    """In training, by eval.py on one process, and by eval.py on two."""
    run_folder, outputs = two_ranks
    checkpoint = run_folder / "0-2_4.ckpt"
    (accuracy,) = evaluation.main(["--ckpt_files", str(checkpoint), "--save_ckpt_path", str(tmp_path)]).values()
    top1 = float(list(csv.DictReader((run_folder / "metrics.csv").open()))[-1]["ema_top1"])
    assert accuracy.top1 == top1
    flags = ["--ckpt_files", checkpoint, "--save_ckpt_path", tmp_path / "two"]
    outputs = run_ranks(forked, tmp_path / "logs", "eval", *flags)
    line = f"top1_correct={accuracy.top1_correct}, tot={HELD_OUT_DIGITS},"
    assert [output.count(line) for output in outputs] == [1, 0]


def test_two_ranks_resume_bit_for_bit_in_the_masters_folder(two_ranks, tmp_path, forked):
    whole, _ = two_ranks
    half = tmp_path / "out" / "half"
    half.mkdir(parents=True)
    for name in ("config.yaml", "0-1_4.ckpt"):
        shutil.copy(whole / name, half)
    outputs = run_ranks(forked, tmp_path / "logs", "train", "--resume", half)
    assert all("resumed from" in output for output in outputs)
    assert only(tmp_path / "out") == half
    resumed = weights(half / "0-2_4.ckpt")
    for name, value in weights(whole / "0-2_4.ckpt").items():
        np.testing.assert_array_equal(value, resumed[name], err_msg=name)


@pytest.fixture(scope="module")
def four_ranks(forked, tmp_path_factory) -> Path:
    """The run folder of an epoch of four steps, 4 x 90 images each, with batch normalisation over all of them."""
    root = tmp_path_factory.mktemp("four_ranks")
    flags = [*STEPS, 90, "--sync_batch_norm", "true", "--is_save_on_master", "false", "--save_ckpt_path", root / "out"]
    run_ranks(forked, root / "logs", "train", *flags, ranks=4)
    return only(root / "out")


def losses(run_folder: Path) -> list[float]:
    """The loss of each step."""
    return [float(loss) for loss in re.findall(r"iter\[\d+\], loss:([\d.]+)", (run_folder / "train.log").read_text())]


def assert_close(left: dict[str, np.ndarray], right: dict[str, np.ndarray], tolerance: float) -> None:
    """No array differs by more than `tolerance` of its own largest value, or of 1e-3 where that is smaller."""
    for name, value in left.items():
        limit = tolerance * max(np.abs(value).max(), 1e-3)
        np.testing.assert_allclose(right[name], value, rtol=0, atol=limit, err_msg=name)


def test_four_ranks_train_as_one_process_with_their_global_batch(four_ranks, tmp_path):
    """Loss curve, weights, velocities and running statistics; float32 adds up in another order, so not to the bit."""
    one = train_tiny(tmp_path, *STEPS[len(TINY) :], 360, "--cpu_kernels", "off")  # as the ranks: they have no such norm
    assert len(losses(four_ranks)) == 4 and losses(one) == pytest.approx(losses(four_ranks), abs=1.1e-3)
    assert_close(weights(one / "0-1_4.ckpt"), weights(four_ranks / "0-1_4.ckpt"), 2e-2)
    for rank in (1, 2, 3):
        for name, value in weights(four_ranks / f"{rank}-1_4.ckpt").items():
            np.testing.assert_array_equal(value, weights(four_ranks / "0-1_4.ckpt")[name], err_msg=name)


@pytest.mark.parametrize(("batch", "first", "images"), [(360, 0, 1440), (300, 720, 1320)])
def test_a_run_of_four_ranks_goes_on_in_one_process_at_the_same_image(batch, first, images, four_ranks, tmp_path):
    """After 720 of 1442 images: with the same global batch as if nothing had changed, or with what still fits."""
    train.main(
        ["--resume", f"{four_ranks}/0-1_2.ckpt", "--per_batch_size", f"{batch}", "--save_ckpt_path", f"{tmp_path}"]
    )
    last = only(tmp_path) / "0-1_4.ckpt"
    progress = load_checkpoint(last).require("progress")
    (row,) = csv.DictReader((last.parent / "metrics.csv").open())
    assert (progress["images"], progress["first_image"], row["step"]) == (images, first, "4")
    if first == 0:
        assert_close(weights(last), weights(four_ranks / "0-1_4.ckpt"), 2e-2)


def test_without_it_each_rank_normalises_its_own_images(two_ranks, four_ranks):
    """Batch statistics of 180 images instead of 360: another, noisier estimate, and so other weights, but not many."""
    run_folder, _ = two_ranks
    assert losses(run_folder)[:4] == pytest.approx(losses(four_ranks), abs=0.05)
    own, whole = (weights(run / "0-1_4.ckpt")["backbone.features.conv0.weight"] for run in (run_folder, four_ranks))
    assert 1e-4 < np.abs(own - whole).max() / np.abs(whole).max() < 0.05


def test_sync_bn_stats_averages_what_the_ranks_saw_before_each_checkpoint(two_ranks, tmp_path, forked):
    """Beside the run of two ranks that differs in nothing else, whose ranks each save their own."""
    run_folder, _ = two_ranks
    flags = [
        *STEPS,
        180,
        *AVERAGED,
        "--sync_bn_stats",
        "true",
        "--is_save_on_master",
        "false",
        "--save_ckpt_path",
        tmp_path / "out",
    ]
    run_ranks(forked, tmp_path / "logs", "train", *flags)
    own, other = (weights(run_folder / name) for name in ("0-1_2.ckpt", "1-1_2.ckpt"))
    averaged, same = (weights(only(tmp_path / "out") / name) for name in ("0-1_2.ckpt", "1-1_2.ckpt"))
    for name, value in own.items():
        assert (other[name] == value).all() == (".moving_" not in name), name
        expected = (value + other[name]) / 2 if ".moving_" in name else value
        np.testing.assert_allclose(averaged[name], expected, rtol=1e-6, atol=1e-7, err_msg=name)
        np.testing.assert_array_equal(averaged[name], same[name], err_msg=name)
