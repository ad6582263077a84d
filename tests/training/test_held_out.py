"""`--val_split`: the same pictures after moving and renaming, on resuming and in eval.py; leaks are told."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from commands import NETWORK, compute_nothing, only, write_pictures

import eval as evaluation
import train
from src.datasets.contents import content_hashes, in_both
from src.datasets.preprocessing_choices import DECODED
from src.datasets.source import Source
from src.datasets.sources import open_source
from src.training.held_out import split_data, split_of, split_of_all
from src.utils.checkpoint import load_checkpoint
from src.utils.errors import ReportedError, UsageError

CLASSES = ("ant", "bee", "cat")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    folder = write_pictures(tmp_path_factory.mktemp("val_split") / "pictures", CLASSES, each=20)
    shutil.copy(folder / "ant" / "3.jpg", folder / "ant" / "copy.jpg")
    return folder


def open_and_split(folder: Path, workers: int = 2):
    return split_data(open_source("folder", folder, split="train"), None, share=0.2, seed=1, workers=workers)


def names(source) -> set[str]:
    return {source.image_name(i) for i in range(len(source))}


def test_the_same_pictures_wherever_they_lie(pictures, tmp_path):
    training, held_out, split = open_and_split(pictures)
    assert (len(training), len(held_out)) == (49, 12) and not names(training) & names(held_out)
    for class_name in CLASSES:
        (tmp_path / "moved" / class_name.upper()).mkdir(parents=True)
        for i, file in enumerate(sorted((pictures / class_name).iterdir(), key=lambda path: path.name[::-1])):
            shutil.copy(file, tmp_path / "moved" / class_name.upper() / f"renamed {i}.jpeg")
    moved = open_and_split(tmp_path / "moved", workers=1)
    np.testing.assert_array_equal(moved[2].held_out, split.held_out)
    assert sorted(content_hashes(moved[1], 1)) == sorted(content_hashes(held_out, 2))


@pytest.fixture(scope="module")
def run_folder(pictures, tmp_path_factory) -> Path:
    """Trained from a copy of the pictures, which is then moved away."""
    root = tmp_path_factory.mktemp("run")
    shutil.copytree(pictures, root / "data")
    flags = ["--dataset", "folder", "--train_data_dir", root / "data", "--val_split", 0.2, "--image_size", 16]
    flags += ["--per_batch_size", 16, "--max_epoch", 1, "--save_ckpt_path", root / "out"]
    with pytest.MonkeyPatch.context() as patch:
        compute_nothing(patch)  # but the evaluation
        train.main([*NETWORK, *map(str, flags)])
    return only(root / "out")


def test_checkpoints_of_runs_that_held_out_other_pictures_are_not_evaluated_together():
    def checkpoint(name, **metadata):
        return SimpleNamespace(path=Path(name), metadata=metadata)

    split = {"share": 0.2, "seed": 1, "held_out": "AQAAAAAAAAA="}
    first = checkpoint("a.ckpt", val_split=split)
    assert split_of_all([first, checkpoint("b.ckpt", val_split=dict(split))]).held_out.tolist() == [1]
    assert split_of_all([checkpoint("a.ckpt")]) is None
    for other in (checkpoint("c.ckpt"), checkpoint("c.ckpt", val_split=split | {"held_out": "AgAAAAAAAAA="})):
        with pytest.raises(ReportedError, match=r"c\.ckpt was not trained with the same pictures held out .* a\.ckpt"):
            split_of_all([first, other])


def log_of(folder: Path, name: str) -> str:
    return (folder / name).read_text()


@pytest.mark.slow
def test_eval_counts_the_held_out_pictures_only(run_folder, pictures, tmp_path):
    checkpoint = run_folder / "best.ckpt"
    assert "held out 12 of 61 pictures (val_split 0.2, seed 1), by their contents; 1 copies" in log_of(
        run_folder, "train.log"
    )
    assert "tot=12, acc=" in log_of(run_folder, "train.log")
    for i, flags in enumerate(([], ["--eval_data_dir", str(pictures)])):  # its own place, and elsewhere
        argv = ["--ckpt_files", str(checkpoint), "--save_ckpt_path", str(tmp_path / str(i)), *flags]
        (accuracy,) = evaluation.main(argv).values()
        assert accuracy.seen == 12
        assert "held out as in training: 12 of 61 pictures" in log_of(only(tmp_path / str(i)), "eval.log")
    assert accuracy.top1 == load_checkpoint(checkpoint).metadata["progress"]["history"][0]["top1"]
    others = write_pictures(tmp_path / "others", CLASSES, each=25)  # the 60 again, and 15 new ones: the same folder
    argv = ["--ckpt_files", str(checkpoint), "--eval_data_dir", str(others), "--save_ckpt_path", str(tmp_path / "c")]
    assert next(iter(evaluation.main(argv).values())).seen == 12
    for class_name in CLASSES:  # 15 that the run has not seen: other data
        for i in range(20):
            (others / class_name / f"{i}.jpg").unlink()
    assert next(iter(evaluation.main([*argv[:-1], str(tmp_path / "d")]).values())).seen == 15


@pytest.mark.slow
@pytest.mark.usefixtures("no_steps", "no_answers")
def test_a_resumed_run_holds_out_the_same(run_folder, tmp_path):
    before = split_of(load_checkpoint(run_folder / "0-1_3.ckpt"))
    resumed = tmp_path / "run"
    shutil.copytree(run_folder, resumed)
    with pytest.raises(UsageError, match=r"val_split is 0\.3, but the run holds out 0\.2"):
        train.main(["--resume", str(resumed), "--val_split", "0.3", "--max_epoch", "2"])
    train.main(["--resume", str(resumed), "--seed", "5", "--max_epoch", "2"])
    after = split_of(load_checkpoint(resumed / "0-2_3.ckpt"))
    np.testing.assert_array_equal(after.held_out, before.held_out)
    assert after.seed == 1


def test_leaks_are_found_by_content(pictures, tmp_path):
    held_out = write_pictures(tmp_path / "held_out", CLASSES, each=3)  # the digits' first three: all in training
    for i in range(2):
        (held_out / "bee" / f"{i}.jpg").write_bytes((pictures / "cat" / f"{i}.jpg").read_bytes()[:-1] + b"\xd8")
    sources = [open_source("folder", folder, split="train") for folder in (pictures, held_out)]
    found = in_both(*sources, workers=2)
    assert {sources[1].image_name(int(i)).split("/", len(held_out.parts))[-1] for i in found} == {
        "ant/0.jpg", "ant/1.jpg", "ant/2.jpg", "bee/2.jpg", "cat/0.jpg", "cat/1.jpg", "cat/2.jpg",
    }  # fmt: skip
    digits = [open_source("digits", "", split=split) for split in ("train", "eval")]
    assert len(in_both(*digits, workers=2)) == 0


@pytest.mark.slow
@pytest.mark.usefixtures("no_steps", "no_answers")
def test_the_trainer_tells_leaks_in_one_line(pictures, tmp_path):
    held_out = write_pictures(tmp_path / "held_out", CLASSES, each=2)
    flags = ["--dataset", "folder", "--train_data_dir", pictures, "--eval_data_dir", held_out, "--image_size", 16]
    flags += ["--per_batch_size", 32, "--max_epoch", 1, "--save_ckpt_path", tmp_path / "out"]
    train.main([*NETWORK, *map(str, flags)])
    log = log_of(only(tmp_path / "out"), "train.log")
    assert log.count("6 of the 6 held-out pictures are training pictures too, first") == 1


PIXELS = np.random.default_rng(0).integers(0, 255, (12, 8, 8, 3), np.uint8)


def in_memory(labels, *, copies: bool = False, groups=None) -> Source:
    return Source(
        "cifar10", tuple("abc"), np.array(labels), DECODED, lambda i: PIXELS[0 if copies else i], str, origin="it",
        groups=None if groups is None else np.array(groups),
    )  # fmt: skip


NOTHING_TO_HOLD_OUT = [
    ({"labels": [0]}, 0.5, "val_split 0.5 holds out 0 of the 1 pictures of it, expected some on both sides; give more"),
    ({"labels": [0, 0], "copies": True}, 0.5, "holds out 0 of the 2 pictures of it, expected some on both sides"),
    ({"labels": [0, 1, 2], "copies": True}, 0.5, "holds out 0 of the 3 pictures of it, expected some on both sides"),
    ({"labels": [0, 0, 1, 1], "groups": [3] * 4}, 0.5, "give more groups, or --eval_data_dir"),
    ({"labels": [0, 1]}, 0.5, "holds out 0 of the 2 pictures of it"),
    ({"labels": [0] * 6 + [2]}, 0.2, "leaves 1 classes without a held-out picture, first 'c' with 1 pictures"),
    ({"labels": [0] * 6 + [1, 2]}, 0.9, "leaves 2 classes without a held-out picture, first 'b' with 1 pictures"),
    ({"labels": [0] * 6 + [1] * 4, "groups": [*range(6), 9, 9, 9, 9]}, 0.2, "first 'b' with 4 pictures, expected two "),
    ({"labels": [[1, 0, -1]]}, 0.5, "holds out 0 of the 1 pictures of it"),
]


@pytest.mark.parametrize(("data", "share", "message"), NOTHING_TO_HOLD_OUT, ids=str)
def test_what_cannot_be_parted(data, share, message):
    with pytest.raises(ReportedError) as found:
        split_data(in_memory(**data), None, share=share, seed=1, workers=1)
    assert message in str(found.value)


def test_a_class_without_pictures_is_no_hindrance():
    """Whether it may be empty at all is not asked here."""
    _, held_out, _ = split_data(in_memory([0] * 6 + [2] * 6), None, share=0.2, seed=1, workers=1)
    assert sorted(held_out.labels) == [0, 2]
