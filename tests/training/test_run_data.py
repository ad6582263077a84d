"""What a run begins with, and goes on with: data that are brought together with a classifier, or with the run's own."""

import json
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from commands import write_pictures

from src.datasets.class_names import unnamed_classes
from src.datasets.sources import open_source
from src.training.run_data import RunData, absolute, open_run_data, require_same_everywhere
from src.utils.checkpoint import Checkpoint
from src.utils.errors import ReportedError, UsageError

A_B_C = ("ant", "bee", "cat")


def begin(folder, held_out="", *, dataset="folder", checkpoint=None, names=None, num_classes=0, asked=()) -> RunData:
    return open_run_data(
        partial(open_source, dataset),
        str(folder),
        str(held_out),
        num_classes=num_classes,
        is_asked_for=asked.__contains__,
        checkpoint=checkpoint,
        pretrained_names=names or (),
        is_master=True,
    )


def saved(run: RunData, **changes: object) -> Checkpoint:
    """What the run's checkpoint says of its data."""
    metadata = {"class_names": list(run.class_names), "data": run.fingerprints, **changes}
    return Checkpoint(Path("0-1_5.ckpt"), {}, metadata)


@pytest.fixture
def pictures(tmp_path) -> Path:
    return write_pictures(tmp_path / "pictures", A_B_C, each=3)


HEAD = "give --reset_head true for a new classifier"


@pytest.mark.parametrize(
    ("names", "num_classes", "expected"),
    [
        (A_B_C, 0, (A_B_C, [0, 1, 2])),
        (("cat", "bee", "ant"), 0, (("cat", "bee", "ant"), [2, 1, 0])),
        (("ant", "bee", "cat", "dog"), 4, (("ant", "bee", "cat", "dog"), [0, 1, 2])),
        (("bee", "cat", "ant", "unused_3"), 4, (("bee", "cat", "ant", "unused_3"), [2, 0, 1])),
        (unnamed_classes(3), 0, (A_B_C, [0, 1, 2])),
        (("ant", "bee", "cow"), 0, HEAD),
        (("0", "1", "2"), 0, HEAD),
        (("ant", "bee", "unused_2"), 0, HEAD),
        (None, 4, ((*A_B_C, "unused_3"), [0, 1, 2])),  # reset_head
        (("ant", "bee"), 0, (A_B_C, [0, 1, 2])),  # of another number of outputs: loading the weights says so
    ],
)
def test_a_classifier_that_is_kept_keeps_its_classes(names, num_classes, expected, pictures):
    call = partial(begin, pictures, names=names, num_classes=num_classes, asked=("num_classes",))
    if isinstance(expected, str):
        with pytest.raises(ReportedError, match=expected):
            call()
        return
    data = call()
    assert (data.class_names, sorted(set(data.training.labels.tolist()))) == (expected[0], sorted(expected[1]))
    assert data.training.labels.tolist() == [label for label in expected[1] for _ in range(3)]


def rename(folder: Path, **names: str) -> None:
    for old, new in names.items():
        (folder / old).rename(folder / new)


def swap_pictures(folder: Path) -> None:
    """Names and number are as before, the pictures of the classes are not."""
    rename(folder, ant="x", bee="ant")
    rename(folder, x="bee")


CHANGES = {
    "a class renamed": (lambda f: rename(f, cat="cow"), "1 class folders that the network does not know, first 'cow'"),
    "all renamed": (lambda f: rename(f, ant="a", bee="b", cat="c"), "3 class folders that the network does not know"),
    "a class more": (lambda f: shutil.copytree(f / "ant", f / "dog"), "does not know, first 'dog'"),
    "a class less": (lambda f: shutil.rmtree(f / "ant"), "lacks 1 classes of the run, first 'ant'"),
    "a picture less": (lambda f: (f / "ant/0.jpg").unlink(), "other data than .* was trained with .8 pictures, not 9"),
    "a picture more": (lambda f: shutil.copy(f / "ant/0.jpg", f / "ant/9.jpg"), "10 pictures, not 9"),
    "a picture renamed": (lambda f: (f / "ant/0.jpg").rename(f / "ant/00.jpg"), "other data than .* .9 pictures, by"),
    "other pictures": (swap_pictures, "other data than .* .9 pictures, by their names, labels and contents"),
}


@pytest.mark.parametrize(("change", "message"), CHANGES.values(), ids=list(CHANGES))
def test_a_run_goes_on_with_its_own_data(change, message, pictures):
    checkpoint = saved(begin(pictures))
    change(pictures)
    with pytest.raises(ReportedError, match=message):
        begin(pictures, checkpoint=checkpoint)


def test_a_run_keeps_its_number_of_outputs(pictures):
    checkpoint = saved(begin(pictures))
    assert begin(pictures, checkpoint=checkpoint, num_classes=3, asked=("num_classes",)).class_names == A_B_C
    with pytest.raises(UsageError, match=r"num_classes is 5, but the run of 0-1_5\.ckpt has 3; leave it out"):
        begin(pictures, checkpoint=checkpoint, num_classes=5, asked=("num_classes",))


def test_moved_data_are_the_same_data(pictures, tmp_path):
    checkpoint = saved(begin(pictures, pictures))
    pictures.rename(tmp_path / "elsewhere")
    again = begin(tmp_path / "elsewhere", tmp_path / "elsewhere", checkpoint=checkpoint)
    assert again.fingerprints == checkpoint.metadata["data"]
    assert again.class_names == A_B_C


def test_another_project_with_the_same_names_is_not_the_run_s(pictures, tmp_path):
    checkpoint = saved(begin(pictures))
    other = write_pictures(tmp_path / "other", ("x", "y", "z", "cat", "bee", "ant"), each=3)
    for name in "xyz":
        shutil.rmtree(other / name)
    with pytest.raises(ReportedError, match="other data than"):
        begin(other, checkpoint=checkpoint)


@pytest.mark.parametrize("older", [{"data": {}}, {"data": None}])
def test_older_checkpoints_are_matched_by_name(older, pictures):
    checkpoint = saved(begin(pictures), **older, class_names=["cat", "ant", "bee"])
    assert begin(pictures, checkpoint=checkpoint).training.labels.tolist() == [1] * 3 + [2] * 3 + [0] * 3
    rename(pictures, ant="dog")
    with pytest.raises(ReportedError, match="does not know, first 'dog'"):
        begin(pictures, checkpoint=checkpoint)


def test_other_held_out_data_have_to_be_asked_for(pictures, tmp_path, capsys):
    checkpoint = saved(begin(pictures, pictures))
    (tmp_path / "fewer").mkdir()
    shutil.copytree(pictures / "cat", tmp_path / "fewer/cat")
    with pytest.raises(ReportedError, match=r"other data than .*; give the same with --eval_data_dir"):
        begin(pictures, tmp_path / "fewer", checkpoint=checkpoint)
    assert begin(pictures, tmp_path / "fewer", checkpoint=checkpoint, asked=("eval_data_dir",)).is_new_held_out
    assert "others than before: the best accuracy is counted anew" in capsys.readouterr().out
    assert not begin(pictures, pictures, checkpoint=checkpoint, asked=("eval_data_dir",)).is_new_held_out


@pytest.mark.parametrize(
    ("best", "before", "is_new"), [(0.9, "other", True), (0.9, "", True), (0.9, "same", False), (-1.0, "other", False)]
)
def test_a_best_of_older_checkpoints_is_of_their_path(best, before, is_new, pictures):
    """They have no fingerprint; the held-out data, which are asked for, are other pictures than the best was of."""
    path = {"same": str(pictures)}.get(before, before)
    run = {"progress": {"best_score": best}, "recipe": {"eval_data_dir": path}}
    checkpoint = saved(begin(pictures), **run)
    assert begin(pictures, pictures, checkpoint=checkpoint, asked=("eval_data_dir",)).is_new_held_out == is_new
    assert not begin(pictures, pictures, checkpoint=checkpoint).is_new_held_out


def test_training_data_that_are_evaluated_on_are_said_to_be(pictures, tmp_path, capsys):
    for held_out in (pictures, shutil.copytree(pictures, tmp_path / "copy")):
        begin(pictures, held_out)
        assert f"the held-out data {held_out} are the training data" in capsys.readouterr().out
    (tmp_path / "copy/ant/0.jpg").unlink()
    begin(pictures, tmp_path / "copy")
    assert "are the training data" not in capsys.readouterr().out


def test_groups_with_pictures_on_both_sides_are_counted(pictures, capsys):
    """A patient's other pictures are not the same pictures, and still no other patient's."""
    for name, rows in {
        "train.csv": "ant/0.jpg,a,7\nbee/0.jpg,b,8\ncat/0.jpg,b,\n",
        "held_out.csv": "ant/1.jpg,a,7\nant/2.jpg,a,7\nbee/1.jpg,b,9\ncat/1.jpg,b,\n",
        "others.csv": "bee/1.jpg,b,9\ncat/1.jpg,a,\n",
    }.items():
        (pictures / name).write_text("image,label,patient\n" + rows)
    begin(pictures / "train.csv", pictures / "held_out.csv", dataset="csv")
    assert "1 groups have training pictures and 2 of the 4 held-out pictures: th" in capsys.readouterr().out
    begin(pictures / "train.csv", pictures / "others.csv", dataset="csv")
    assert "groups have" not in capsys.readouterr().out


def test_a_forgotten_dataset_folder(pictures):
    with pytest.raises(
        UsageError, match=r"found 3 classes in .*, expected the 1000 of the network's YAML file; give --da"
    ):
        begin(pictures, dataset="imagenet", num_classes=1000)
    assert len(begin(pictures, dataset="imagenet", num_classes=1000, asked=("num_classes",)).class_names) == 1000


def test_one_class_is_nothing_to_learn(pictures):
    shutil.rmtree(pictures / "ant")
    for picture in (pictures / "bee").iterdir():
        picture.unlink()
    with pytest.raises(
        ReportedError, match=r"all 3 training pictures of .* are of one class, 'cat', so there is nothing"
    ):
        begin(pictures)


def test_a_run_s_paths_lead_to_the_same_place_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute("data/train") == f"{tmp_path}/data/train"
    assert [absolute(path) for path in ("", "bundled", "/data")] == ["", "bundled", "/data"]


@dataclass
class Ranks:
    """Rank `rank` of two, where rank 0's data have the fingerprints `master`; another rank's differ if `others`."""

    master: dict
    rank: int
    others: int = 0
    world_size: int = 2

    def from_master(self, make) -> str:
        return make() if self.rank == 0 else json.dumps(self.master)

    def any(self, flag: int) -> int:
        return max(flag, self.others)


def test_all_ranks_have_the_same_data():
    """With a picture less on one host all ranks would take their part of another order."""
    data = {"train": {"images": 9, "sha256": "a"}, "eval": {"images": 4, "sha256": "b"}}
    less = {**data, "eval": {"images": 3, "sha256": "c"}}
    for rank in (0, 1):
        require_same_everywhere(Ranks(data, rank), data, "data")
    with pytest.raises(
        ReportedError, match=r"data on rank 1 holds other data than on rank 0 .9 train, 3 eval pictures, "
    ):
        require_same_everywhere(Ranks(data, 1), less, "data")
    with pytest.raises(ReportedError, match="another rank has other data than rank 0"):
        require_same_everywhere(Ranks(data, 0, others=1), data, "data")


@pytest.mark.parametrize(
    ("names", "has_fingerprints", "said"),
    [(("1", "10", "2"), False, 1), (("1", "2", "10"), False, 0), (("1", "10", "2"), True, 0)],
)
def test_an_older_run_whose_numbered_folders_were_sorted_as_text_is_told_that_the_order_changed(
    names, has_fingerprints, said, tmp_path, capsys
):
    folder = write_pictures(tmp_path / "pictures", ("1", "2", "10"), each=2)
    checkpoint = saved(begin(folder, names=names))
    if not has_fingerprints:
        del checkpoint.metadata["data"]
    capsys.readouterr()
    assert begin(folder, checkpoint=checkpoint).class_names == names
    assert capsys.readouterr().out.count("are sorted by their numbers now, as text when") == said
