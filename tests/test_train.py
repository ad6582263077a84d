"""train.py from flags to a run folder: what it leaves, that it can be repeated, and each kind of data set."""

import csv
import re
import shutil

import mindspore as ms
import numpy as np
import pytest
import yaml
from commands import HELD_OUT_DIGITS, TINY, only, train_tiny, weights, write_cifar, write_pictures
from PIL import Image

import train
from src.training.events import Event
from src.utils.checkpoint import load_checkpoint, save_checkpoint
from src.utils.errors import UsageError

LOG_LINE = (
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}:INFO:epoch\[%d\], iter\[%d\], loss:\d+\.\d{3}, mean_fps:\d+\.\d\d imgs/sec"
)


def assert_same_weights(left, right):
    left, right = weights(left), weights(right)
    assert list(left) == list(right)
    for name, value in left.items():
        assert value.tobytes() == right[name].tobytes(), name


def events(run_folder) -> list[tuple[str, int, float]]:
    """(tag, step, value) of the scalars in the run's event file: TFRecords of length, CRC, bytes, CRC."""
    (file,) = run_folder.glob("events.out.tfevents.*")
    data, found = file.read_bytes(), []
    while data:
        length = int.from_bytes(data[:8], "little")
        event = Event.FromString(data[12 : 12 + length])
        found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
        data = data[16 + length :]
    return found


def test_run_folder_is_complete(trained_run):
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_time_\d\d_\d\d_\d\d", trained_run.name)
    names = {path.name for path in trained_run.iterdir() if not path.name.startswith("events.")}
    assert names == {
        ".lock", "0-1_5.ckpt", "0-2_5.ckpt", "best.ckpt", "class_names.txt", "config.yaml", "curves.png",
        "metrics.csv", "preview.png", "train.log",
    }  # fmt: skip
    assert (trained_run / "class_names.txt").read_text().split() == [str(digit) for digit in range(10)]


def test_pictures_open(trained_run):
    for name in ("preview.png", "curves.png"):
        with Image.open(trained_run / name) as picture:
            picture.load()
            assert picture.format == "PNG"
            assert min(picture.size) > 100
            assert len(picture.convert("L").getcolors()) > 10  # not blank


def test_log_has_the_seeds_lines(trained_run):
    log = (trained_run / "train.log").read_text()
    for epoch in (0, 1):
        assert len(re.findall(LOG_LINE % (epoch, 5 * epoch + 4), log)) == 1
    assert len(re.findall(rf"after allreduce eval: top1_correct=\d+, tot={HELD_OUT_DIGITS}, acc=", log)) == 2
    assert "1442 images of digits, 5 steps an epoch; input 3 x 8 x 8 (squash to 8, bilinear)" in log
    assert "running stand-alone: no launcher started this process" in log


def test_metrics_events_and_log_agree(trained_run):
    rows = list(csv.DictReader((trained_run / "metrics.csv").open()))
    assert [(row["epoch"], row["step"]) for row in rows] == [("1", "5"), ("2", "10")]
    assert all(0.05 < float(row["train_top1"]) < 1 for row in rows)
    log = (trained_run / "train.log").read_text()
    corrects = [int(count) for count in re.findall(r"top1_correct=(\d+)", log)]
    assert [float(row["top1"]) for row in rows] == [correct / HELD_OUT_DIGITS for correct in corrects]
    losses = re.findall(r"iter\[[49]\], loss:(\d+\.\d+), mean", log)
    assert [f"{float(row['loss']):.3f}" for row in rows] == losses
    scalars = events(trained_run)
    assert [(step, value) for tag, step, value in scalars if tag == "eval/top1"] == [
        (int(row["step"]), np.float32(row["top1"])) for row in rows
    ]
    assert [step for tag, step, _ in scalars if tag == "train/loss"] == [5, 10]


def test_best_checkpoint_is_of_the_best_epoch(trained_run):
    rows = list(csv.DictReader((trained_run / "metrics.csv").open()))
    top1 = [float(row["top1"]) for row in rows]
    assert_same_weights(trained_run / "best.ckpt", trained_run / f"0-{1 + int(np.argmax(top1))}_5.ckpt")
    assert load_checkpoint(trained_run / "best.ckpt").metadata["progress"]["best_score"] == max(top1)


def test_checkpoint_describes_itself(trained_run):
    metadata = load_checkpoint(trained_run / "0-2_5.ckpt").metadata
    assert metadata["architecture"]["block_config"] == [1, 1]
    assert metadata["preprocessing"]["image_size"] == 8
    assert metadata["class_names"] == [str(digit) for digit in range(10)]
    assert metadata["recipe"]["lr"] == 0.1
    assert metadata["progress"]["epoch"] == 1
    assert metadata["progress"]["images"] == 5 * 256
    assert set(metadata["versions"]) == {"mindspore", "numpy", "python"}


@pytest.mark.slow
def test_saved_configuration_repeats_the_run(trained_run, tmp_path):
    progress = train.main(["--config_path", str(trained_run / "config.yaml"), "--save_ckpt_path", str(tmp_path)])
    assert progress.epoch == 2
    assert_same_weights(only(tmp_path) / "0-2_5.ckpt", trained_run / "0-2_5.ckpt")
    first, again = (yaml.safe_load((folder / "config.yaml").read_text()) for folder in (trained_run, only(tmp_path)))
    assert {key for key in first if first[key] != again[key]} == {"save_ckpt_path"}


@pytest.mark.slow
@pytest.mark.usefixtures("no_steps")
def test_existing_runs_are_not_touched(tmp_path, monkeypatch):
    """Two runs that begin in the same second get two folders."""
    monkeypatch.setattr("src.training.run_folder.time_stamp", lambda: "2026-01-31_time_12_00_00")
    for _ in range(2):
        train.main([*TINY, "--save_ckpt_path", str(tmp_path)])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "2026-01-31_time_12_00_00",
        "2026-01-31_time_12_00_00_1",
    ]


@pytest.mark.slow
def test_resume_of_a_finished_run_trains_no_more_and_with_more_epochs_goes_on(trained_run, tmp_path):
    folder = shutil.copytree(trained_run, tmp_path / "run")
    train.main(["--resume", str(folder)])
    assert [path.name for path in folder.glob("0-*.ckpt")].count("0-3_5.ckpt") == 0
    train.main(["--resume", str(folder), "--max_epoch", "3"])
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert (folder / "0-3_5.ckpt").is_file()
    assert yaml.safe_load((folder / "config_resumed_1.yaml").read_text())["max_epoch"] == 3


@pytest.mark.slow
def test_fine_tuning_with_another_class_count(trained_run, tmp_path):
    """The body is taken over with its pools and normalisation, the classifier is new.

    With a rate of almost 0 the body also stays.
    """
    before = load_checkpoint(trained_run / "best.ckpt")
    maximum = {**before.metadata["architecture"], "transition_pool": "max"}
    parameters = [ms.Parameter(ms.Tensor(value), name=name) for name, value in before.arrays.items()]
    save_checkpoint(tmp_path / "max.ckpt", parameters, {**before.metadata, "architecture": maximum})
    pictures = write_pictures(tmp_path / "pictures", ("zero", "one", "two"), each=4)
    data = ["--dataset", "folder", "--train_data_dir", pictures, "--per_batch_size", 4]
    start = ["--train_pretrained", tmp_path / "max.ckpt", "--reset_head", "--lr", 1e-9]
    run_folder = train_tiny(tmp_path / "out", *data, *start)
    said = load_checkpoint(run_folder / "0-1_3.ckpt").metadata
    assert said["architecture"]["transition_pool"] == said["recipe"]["transition_pool"] == "max"
    assert said["preprocessing"]["mean"] == before.metadata["preprocessing"]["mean"]
    with pytest.raises(UsageError, match=r"transition_pool is avg, but .*0-1_3\.ckpt was made with max"):
        train.main(["--resume", str(run_folder), "--transition_pool", "avg", "--max_epoch", "2"])
    assert (run_folder / "class_names.txt").read_text().split() == ["one", "two", "zero"]
    tuned, before = weights(run_folder / "0-1_3.ckpt"), weights(trained_run / "best.ckpt")
    assert tuned["head.fc.weight"].shape == (3, before["head.fc.weight"].shape[1])
    name = "backbone.features.conv0.weight"
    np.testing.assert_allclose(tuned[name], before[name], atol=1e-6)
    assert np.abs(before[name]).max() > 0.1


@pytest.mark.slow
@pytest.mark.usefixtures("no_steps", "no_answers")
def test_bad_images_are_skipped_and_listed(tmp_path):
    pictures = write_pictures(tmp_path / "pictures", ("one", "two"), each=5)
    (pictures / "one" / "2.jpg").write_text("not a picture")
    (pictures / "two" / "0.jpg").write_bytes((pictures / "two" / "1.jpg").read_bytes()[:300])
    data = ["--dataset", "folder", "--train_data_dir", pictures, "--eval_data_dir", pictures, "--per_batch_size", 4]
    run_folder = train_tiny(tmp_path / "out", *data, "--on_bad_image", "skip")
    log = (run_folder / "train.log").read_text()
    assert "2 of 10 train images skipped" in log
    assert "on 8 images of folder, 2 steps an epoch" in log
    assert "tot=8," in log
    for split in ("train", "eval"):
        lines = (run_folder / f"skipped_{split}_images.txt").read_text().splitlines()
        assert [line.split(" should be")[0][-9:] for line in lines] == ["one/2.jpg", "two/0.jpg"]


@pytest.mark.slow
@pytest.mark.usefixtures("no_steps", "no_answers")
def test_cifar10_trains_on_its_training_files_and_evaluates_on_its_test_file(tmp_path):
    data = tmp_path / "data"
    for number, count in ((1, 10), (2, 9)):
        write_cifar(data / f"data_batch_{number}.bin", count)
    write_cifar(data / "test_batch.bin", 7)
    flags = ["--dataset", "cifar10", "--train_data_dir", data, "--eval_data_dir", data, "--per_batch_size", 4]
    run_folder = train_tiny(tmp_path / "out", *flags)
    log = (run_folder / "train.log").read_text()
    assert "on 19 images of cifar10, 4 steps an epoch" in log
    assert "tot=7," in log
    assert (run_folder / "class_names.txt").read_text().split()[::9] == ["airplane", "truck"]


@pytest.mark.slow
@pytest.mark.usefixtures("no_steps", "no_answers")
def test_list_of_images(tmp_path):
    write_pictures(tmp_path / "pictures of", ("one", "two"), each=4)
    lines = [f"pictures of/{name}/{i}.jpg {label}" for label, name in enumerate(("one", "two")) for i in range(4)]
    (tmp_path / "train.txt").write_text("\n".join(lines[:6]))
    (tmp_path / "eval.txt").write_text("\n".join(lines[3:]))
    data = ["--dataset", "list", "--train_data_dir", tmp_path / "train.txt", "--eval_data_dir", tmp_path / "eval.txt"]
    run_folder = train_tiny(tmp_path / "out", *data, "--per_batch_size", 3)
    log = (run_folder / "train.log").read_text()
    assert "on 6 images of list, 2 steps an epoch" in log
    assert "tot=5," in log


@pytest.mark.slow
def test_densenet100_itself_takes_a_step(tmp_path):
    """The named network, not the tiny one: 769,210 parameters, one step."""
    write_cifar(tmp_path / "data" / "data_batch_1.bin", 2)
    flags = ["--net", "densenet100", "--per_batch_size", "2", "--max_epoch", "1", "--augmentation", "none"]
    train.main([*flags, "--train_data_dir", str(tmp_path / "data"), "--save_ckpt_path", str(tmp_path / "out")])
    run_folder = only(tmp_path / "out")
    assert "densenet100 (769,210 parameters) on 2 images of cifar10, 1 steps" in (run_folder / "train.log").read_text()
    assert (run_folder / "0-1_1.ckpt").is_file()
