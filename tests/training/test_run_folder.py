"""Run folders: new, locked, found again; damaged checkpoints are passed over and kept."""

import errno
import fcntl
import os
from pathlib import Path

import numpy as np
import pytest
from commands import ROOT
from fuzz.children import in_child
from mindspore import Parameter, Tensor

from src.model_utils.group import ALONE
from src.training.run_folder import (
    create_run_folder,
    find_checkpoint,
    locked,
    log_name,
    open_run_folder,
)
from src.utils.checkpoint import load_checkpoint, save_checkpoint
from src.utils.errors import ReportedError
from src.utils.logging import get_logger, log_file

STAMP = "2026-01-31_time_12_00_00"


def save(folder, name, **metadata):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").touch()
    weight = Parameter(Tensor(np.ones(3, np.float32)), name="w")
    save_checkpoint(folder / name, [weight], {"progress": {}, **metadata})
    return folder / name


def damage(path):
    path.write_bytes(path.read_bytes()[:-30])


def enter(root, checkpoint, resume) -> Path:
    """The folder in which a command with `--resume` would train."""
    with open_run_folder(root, ALONE, checkpoint, resume) as folder:
        return folder


def set_age(folder, seconds):
    for path in folder.glob("*.ckpt"):
        os.utime(path, (seconds, seconds))


def test_names():
    assert [log_name("train", rank) for rank in (0, 3)] == ["train.log", "train_rank3.log"]


def test_a_taken_name_gets_a_number(tmp_path):
    names = [create_run_folder(tmp_path / "a" / "b", STAMP).name for _ in range(3)]
    assert names == [STAMP, STAMP + "_1", STAMP + "_2"]


def test_a_root_that_cannot_hold_folders_is_reported(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ReportedError, match=r"cannot create .*: Not a directory; choose another --save_ckpt_path"):
        create_run_folder(tmp_path / "file", STAMP)
    (tmp_path / "link").symlink_to(tmp_path / "none")
    with pytest.raises(ReportedError, match=r"link is no folder and cannot become one; choose another path"):
        create_run_folder(tmp_path / "link", STAMP)


def test_a_read_only_root_is_reported():
    with pytest.raises(ReportedError, match=r"cannot create /proc/output/.*; choose another --save_ckpt_path"):
        create_run_folder(type(ROOT)("/proc/output"), STAMP)


@pytest.mark.slow
def test_one_process_trains_in_a_folder_at_a_time(tmp_path):
    def begin() -> str:
        with locked(tmp_path):
            return "entered"

    with locked(tmp_path):
        other = in_child(begin)
        assert (other.kind, other.text) == (
            "refused", f"another process is training in {tmp_path}; wait for it or stop it first",
        )  # fmt: skip
    other = in_child(begin)
    assert (other.kind, other.value) == ("done", "entered")


@pytest.mark.slow
def test_of_many_that_resume_a_run_one_trains_and_the_others_are_told(tmp_path, forked):
    races, racers = 20, 3
    for i in range(races):
        for name in ("0-1_1.ckpt", "0-2_1.ckpt"):
            save(tmp_path / f"race_{i:02d}" / STAMP, name)
    said = [tmp_path / f"said_{i}.txt" for i in range(racers)]
    processes = [
        forked.start("tests/training/racer", [tmp_path, racers, i], ROOT, path, tmp_path / f"errors_{i}.txt")
        for i, path in enumerate(said)
    ]
    assert [process.wait(300) for process in processes] == [0] * racers
    for race in zip(*(path.read_text().splitlines() for path in said), strict=True):
        assert sorted("another process is training in" in line for line in race) == [False] + [True] * (racers - 1)
        assert sum(line == f"trained in {STAMP}" for line in race) == 1
    assert len(list(tmp_path.glob("race_*/*_time_*"))) == races, "no second run was started"


def test_entering_removes_what_a_killed_writer_left(tmp_path):
    (tmp_path / ".tmp-1.ckpt").touch()
    with locked(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_folder_stands_for_its_newest_checkpoint(tmp_path):
    for name in ("0-2_9.ckpt", "0-10_1.ckpt", "0-2_10.ckpt", "1-50_1.ckpt", "best.ckpt"):
        save(tmp_path, name)
    assert find_checkpoint(str(tmp_path), tmp_path, 0).path.name == "0-10_1.ckpt"
    assert find_checkpoint(str(tmp_path), tmp_path, 1).path.name == "1-50_1.ckpt"
    assert find_checkpoint(str(tmp_path / "best.ckpt"), tmp_path, 0).path.name == "best.ckpt"


def test_auto_is_the_newest_run_that_holds_a_valid_checkpoint(tmp_path):
    """By the time in its name: a copy changes the files' own times."""
    assert find_checkpoint("auto", tmp_path / "none", 0) is None
    names = ["my_run", STAMP, STAMP + "_2", STAMP + "_10", "2026-02-01_time_00_00_00"]
    for age, name in enumerate(reversed(names)):
        set_age(save(tmp_path / name, "0-1_1.ckpt").parent, 1000 + age)
    for name in reversed(names):
        assert find_checkpoint("auto", tmp_path, 0).path == tmp_path / name / "0-1_1.ckpt"
        damage(tmp_path / name / "0-1_1.ckpt")
    assert find_checkpoint("auto", tmp_path, 0) is None
    save(tmp_path / STAMP, "0-2_1.ckpt")
    (tmp_path / STAMP / "config.yaml").unlink()  # then it is no run folder
    assert find_checkpoint("auto", tmp_path, 0) is None


@pytest.mark.parametrize("resume", ["auto", "run", "newest", "older", "best"])
def test_a_run_that_still_trains_is_not_resumed(resume, tmp_path):
    """Neither in its folder nor, from what it had when this command looked, in another one; nothing is renamed."""
    run = tmp_path / STAMP
    older, newest, best = (save(run, name) for name in ("0-1_1.ckpt", "0-2_1.ckpt", "best.ckpt"))
    damage(save(run, "0-3_1.ckpt"))
    asked = {"auto": "auto", "run": str(run), "newest": str(newest), "older": str(older), "best": str(best)}[resume]
    with locked(run), pytest.raises(ReportedError, match=f"another process is training in {run}; wait for it or"):
        enter(tmp_path, find_checkpoint(asked, tmp_path, 0), asked)
    assert sorted(path.name for path in tmp_path.iterdir()) == [STAMP]
    assert not list(run.glob("*.damaged"))


def test_two_that_ask_whether_a_run_is_idle_do_not_take_each_other_for_its_training(tmp_path):
    best = save(tmp_path / STAMP, "best.ckpt")
    with (tmp_path / STAMP / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        assert enter(tmp_path, load_checkpoint(best), str(best)) != tmp_path / STAMP
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ReportedError, match="another process is training in"):
            enter(tmp_path, load_checkpoint(best), str(best))


def test_a_run_that_went_on_meanwhile_is_not_started_a_second_time(tmp_path):
    run = tmp_path / STAMP
    first = save(run, "0-1_1.ckpt")
    found = find_checkpoint(str(run), tmp_path, 0)
    save(run, "0-2_1.ckpt")  # of another process, which has ended since
    with pytest.raises(ReportedError, match=r"another process trained in .* meanwhile, up to 0-2_1\.ckpt; start the"):
        enter(tmp_path, found, str(run))
    assert enter(tmp_path, found, str(first)) != run, "asked for by name, it starts another run"


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.ENOMEM, errno.ESTALE])
def test_a_newest_that_cannot_be_read_is_neither_passed_over_nor_renamed(code, tmp_path, monkeypatch):
    save(tmp_path, "0-1_1.ckpt")
    newest = save(tmp_path, "0-2_1.ckpt")
    real = Path.open

    def fail(path, *arguments, **keywords):
        if os.fspath(path).endswith("0-2_1.ckpt"):
            raise OSError(code, os.strerror(code))
        return real(path, *arguments, **keywords)

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(ReportedError, match=f"0-2_1.ckpt cannot be read: {os.strerror(code)}"):
        find_checkpoint(str(tmp_path), tmp_path, 0)
    assert newest.exists()


def test_files_of_the_run_do_not_follow_links(tmp_path):
    (tmp_path / "precious").write_text("precious")
    for name in (".lock", "train.log"):
        (tmp_path / name).symlink_to("precious")
    with pytest.raises(ReportedError, match=r"cannot write \.lock in .*: it is a symbolic link"), locked(tmp_path):
        pass
    log = log_file(tmp_path / "train.log")
    with pytest.raises(ReportedError, match=r"cannot write the log .*: it is a symbolic link"), log:
        get_logger().info("a line")
    assert (tmp_path / "precious").read_text() == "precious"


def test_an_earlier_damaged_file_is_not_replaced_by_a_later_one(tmp_path):
    good, bad = save(tmp_path, "0-1_1.ckpt"), save(tmp_path, "0-2_1.ckpt")
    damage(bad)
    (tmp_path / "0-2_1.ckpt.damaged").write_text("an earlier one")
    with open_run_folder(tmp_path.parent, ALONE, load_checkpoint(good)):
        pass
    assert (tmp_path / "0-2_1.ckpt.damaged").read_text() == "an earlier one"
    assert (tmp_path / "0-2_1.ckpt_1.damaged").is_file()


def test_a_damaged_newest_is_passed_over_and_set_aside(tmp_path, capsys):
    good, bad = save(tmp_path, "0-1_1.ckpt"), save(tmp_path, "0-2_1.ckpt")
    damage(bad)
    content = bad.read_bytes()
    found = find_checkpoint(str(tmp_path), tmp_path, 0)
    assert found.path == good
    assert f"passing over {bad}: it is damaged or gone" in capsys.readouterr().out
    with open_run_folder(tmp_path.parent, ALONE, found) as folder:
        assert folder == tmp_path
    assert (tmp_path / "0-2_1.ckpt.damaged").read_bytes() == content
    assert not bad.exists()
    assert good.exists()


@pytest.mark.parametrize("root", ["run/..", "elsewhere"])
def test_a_damaged_newest_is_set_aside_however_its_folder_is_written(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("elsewhere").mkdir()
    run = Path("run")
    good, bad = save(run, "0-1_1.ckpt"), save(run, "0-2_1.ckpt")
    damage(bad)
    with open_run_folder(Path(root), ALONE, find_checkpoint("run", Path(root), 0)) as folder:
        assert folder == run
    assert (run / "0-2_1.ckpt.damaged").is_file()
    assert good.exists() and not bad.exists()


def test_a_file_that_is_not_ours_is_passed_over_too(tmp_path):
    good = save(tmp_path, "0-1_1.ckpt")
    save_checkpoint(tmp_path / "0-2_1.ckpt", [Parameter(Tensor([1.0]), name="w")], {})  # without progress
    assert find_checkpoint(str(tmp_path), tmp_path, 0).path == good


def test_nothing_to_resume_from_is_an_error(tmp_path):
    with pytest.raises(ReportedError, match=r"holds no valid checkpoint 0-EPOCH_STEP\.ckpt to resume from"):
        find_checkpoint(str(tmp_path), tmp_path, 0)
    save_checkpoint(tmp_path / "zoo.ckpt", [Parameter(Tensor([1.0]), name="w")], {})
    with pytest.raises(ReportedError, match="carries no progress"):
        find_checkpoint(str(tmp_path / "zoo.ckpt"), tmp_path, 0)
    damage(save(tmp_path, "0-1_1.ckpt"))
    with pytest.raises(ReportedError, match="truncated"):
        find_checkpoint(str(tmp_path / "0-1_1.ckpt"), tmp_path, 0)


def test_the_newest_continues_its_folder_and_an_older_one_starts_another(tmp_path):
    run = tmp_path / "output" / "run"
    older, newest = save(run, "0-1_1.ckpt"), save(run, "0-2_1.ckpt")
    with open_run_folder(run.parent, ALONE, load_checkpoint(newest)) as folder:
        assert folder == run
    with open_run_folder(run.parent, ALONE, load_checkpoint(older)) as folder:
        assert folder.parent == run.parent
        assert folder != run
    assert sorted(run.glob("*.ckpt")) == [older, newest]


def test_a_checkpoint_outside_a_run_folder_starts_a_run(tmp_path):
    lone = save(tmp_path / "downloads", "0-1_1.ckpt")
    (lone.parent / "config.yaml").unlink()
    with open_run_folder(tmp_path / "output", ALONE, load_checkpoint(lone)) as folder:
        assert folder.parent == tmp_path / "output"


def fail_in_a_new_folder(root: Path, error: BaseException, *made: str) -> list[str]:
    """What is left in `root` of a run that made files `made` and then failed."""
    with pytest.raises(type(error)), open_run_folder(root, ALONE) as folder, log_file(folder / "train.log"):
        for name in ("config.yaml", "train_rank1.log", *made):
            (folder / name).touch()
        raise error
    return [path.name for folder in root.iterdir() for path in folder.iterdir()]


def test_a_start_that_fails_leaves_no_folder(tmp_path):
    assert fail_in_a_new_folder(tmp_path, ReportedError("no such data")) == []
    assert fail_in_a_new_folder(tmp_path, KeyboardInterrupt()) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["0-1_1.ckpt", "bad_images.txt", "preview.png", "metrics.csv"])
def test_what_a_failed_run_made_is_kept(name, tmp_path):
    assert {name, "train.log", "config.yaml"} <= set(fail_in_a_new_folder(tmp_path, ReportedError("disk"), name))


def test_the_log_is_kept_where_it_alone_tells_the_reason(tmp_path, monkeypatch):
    assert "train.log" in fail_in_a_new_folder(tmp_path / "a", ZeroDivisionError("a bug"))
    monkeypatch.setattr("src.training.run_folder.is_stderr_nowhere", lambda: True)
    assert "train.log" in fail_in_a_new_folder(tmp_path / "b", ReportedError("no such data"))


def test_an_earlier_runs_folder_is_kept(tmp_path):
    checkpoint = load_checkpoint(save(tmp_path / STAMP, "0-1_1.ckpt"))
    with pytest.raises(ReportedError, match="no data"), open_run_folder(tmp_path, ALONE, checkpoint):
        raise ReportedError("no data")
    assert (tmp_path / STAMP / "0-1_1.ckpt").is_file()
