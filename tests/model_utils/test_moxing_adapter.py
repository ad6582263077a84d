"""Copying in and out, with a stand-in for moxing that really copies; whole jobs are in tests/test_modelarts.py."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from commands import ROOT

from src.model_utils import host_meeting, moxing_adapter
from src.model_utils.config import parse
from src.model_utils.local_adapter import launcher_place
from src.model_utils.moxing_adapter import modelarts
from src.utils.errors import ReportedError, StopError
from src.utils.logging import get_logger


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    """Buckets and disk in folders whose names hold spaces, and short pauses."""
    return Cloud(tmp_path / "a cloud", monkeypatch)


class Cloud:
    """A bucket with a data set and a checkpoint, and the arguments of a job that uses it."""

    def __init__(self, root: Path, monkeypatch) -> None:
        self.root, self.monkeypatch = root, monkeypatch
        self.bucket, self.data, self.output = root / "buckets" / "b", root / "data", root / "output"
        write(self.bucket / "data set" / "train" / "one class" / "0.jpg", "a picture")
        write(self.bucket / "data set" / "names.txt", "one class")
        (self.bucket / "data set" / "nothing").mkdir()
        write(self.bucket / "start" / "best.ckpt", "weights")
        (root / "tmp").mkdir()
        monkeypatch.setenv("TMPDIR", str(root / "tmp"))
        monkeypatch.setattr(tempfile, "tempdir", None)
        monkeypatch.setenv("MOXING_STAND_IN", str(root / "buckets"))
        monkeypatch.syspath_prepend(ROOT / "tests" / "moxing_stand_in")
        monkeypatch.setattr(moxing_adapter, "_PAUSES", (0.01, 0.01, 0.01))
        monkeypatch.setattr(host_meeting, "_POLL", 0.02)

    def faults(self, words: str) -> None:
        self.monkeypatch.setenv("MOXING_STAND_IN_FAULTS", words)

    def arguments(self, **changes: object) -> dict[str, object]:
        usual = {
            "enable_modelarts": True,
            "data_url": "obs://b/data set",
            "train_url": "obs://b/results/",
            "checkpoint_url": "",
            "data_path": str(self.data),
            "output_path": str(self.output),
            "load_path": str(self.root / "load"),
            "upload_interval": 0.0,
        }
        return usual | changes

    def job(self, **changes: object):
        return modelarts(**self.arguments(**changes))

    def calls(self) -> list[str]:
        """What moxing was asked to copy, and clear the list."""
        log = self.root / "buckets" / "calls.log"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return [line.replace(str(self.root), "ROOT") for line in lines]

    def uploaded(self) -> dict[str, str]:
        return texts(self.bucket / "results")

    def left_locks(self) -> list[Path]:
        return list((self.root / "tmp").iterdir())


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def texts(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_defaults_are_the_folders_of_the_seeds_examples():
    values = parse("train", ["--dataset", "digits"]).values_of("modelarts")
    assert values == {
        "enable_modelarts": False,
        "data_url": "",
        "train_url": "",
        "checkpoint_url": "",
        "data_path": "/cache/data",
        "output_path": "/cache/train",
        "load_path": "/cache/checkpoint_path",
        "upload_interval": 600.0,
    }
    with modelarts(**values) as results:
        assert results / "output" == Path("output")


def test_data_in_and_results_out(cloud):
    with cloud.job(checkpoint_url="obs://b/start") as results:
        assert texts(cloud.data) == {"train/one class/0.jpg": "a picture", "names.txt": "one class"}
        assert texts(cloud.root / "load") == {"best.ckpt": "weights"}
        assert results == cloud.output
        write(results / "a run" / "train.log", "done")
        write(results / "a run" / ".lock", "")
        write(results / "a run" / ".tmp-1.ckpt", "half")
        write(results / ".tmp-folder" / "file", "half")
        assert len(cloud.left_locks()) == 1
    assert cloud.uploaded() == {"a run/train.log": "done"}
    assert cloud.calls() == [
        "copy_parallel|obs://b/data set|ROOT/data",
        "copy_parallel|obs://b/start|ROOT/load",
        "copy|ROOT/output/a run/train.log|obs://b/results/a run/train.log",
    ]
    assert cloud.left_locks() == []


def test_a_url_may_be_a_file_or_a_folder_of_the_disk(cloud):
    """ModelArts itself may have copied the data already, and copy what is left in a folder."""
    urls = {"data_url": str(cloud.bucket / "data set"), "train_url": str(cloud.root / "mounted")}
    with cloud.job(**urls, checkpoint_url="obs://b/start/best.ckpt") as results:
        assert (cloud.data / "names.txt").read_text() == "one class"
        assert texts(cloud.root / "load") == {"best.ckpt": "weights"}
        write(results / "a run" / "train.log", "done")
    assert texts(cloud.root / "mounted") == {"a run/train.log": "done"}


def test_the_first_copies_fail(cloud, caplog):
    cloud.faults("first=3 half")
    with heard(caplog), cloud.job():
        assert texts(cloud.data) == {"train/one class/0.jpg": "a picture", "names.txt": "one class"}
    assert len(cloud.calls()) == 4
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 3
    assert warnings[0] == (
        f"cannot copy data_url obs://b/data set to {cloud.data}: Failed to call: func=getObject "
        "args=('obs://b/data set',) request timed out; trying again in 0.01 s"
    )


class heard:  # noqa: N801
    """The project's logger does not propagate: have caplog see it."""

    def __init__(self, caplog) -> None:
        self.handler = caplog.handler

    def __enter__(self) -> None:
        get_logger().addHandler(self.handler)

    def __exit__(self, *_: object) -> None:
        get_logger().removeHandler(self.handler)


CHECK = "check the URL, the job's right to read it and the room on the disk"
MISSING = "does not exist or is empty; check its name, the bucket's region and the job's right to read it"


@pytest.mark.parametrize(
    ("faults", "changes", "calls", "message"),
    [
        ("always=b/data", {}, 4, "cannot copy data_url obs://b/data set to .*/data: Failed to call: .* request timed "
         rf"out \(4 attempts\); [\d.]+ GB are free there; {CHECK}"),
        ("always=b/data full half", {}, 1, r"cannot copy data_url .*/data: \[Errno 28\] No space left on device.*"
         r"/data/names.txt'; [\d.]+ GB are free there"),
        ("", {"data_url": "obs://b/absent"}, 0, f"data_url obs://b/absent {MISSING}"),
        ("", {"checkpoint_url": "obs://b/data set/nothing"}, 1, f"checkpoint_url obs://b/data set/nothing {MISSING}"),
        ("", {"data_path": "/proc/cache/data"}, 0, "the folder /proc/cache/data for data_url cannot be made: No such "
         "file or directory; choose another --data_path"),
        ("", {"data_url": "", "output_path": "/proc/cache"}, 0, "output_path /proc/cache cannot be written: No such "
         "file or directory; choose another --output_path"),
    ],
)  # fmt: skip
def test_nothing_begins_when_the_data_cannot_be_had(cloud, faults, changes, calls, message):
    cloud.faults(faults)
    with pytest.raises(ReportedError, match=message), cloud.job(**changes):
        pytest.fail("the job began")
    assert len(cloud.calls()) == calls
    assert cloud.left_locks() == []


def test_without_moxing(cloud, monkeypatch):
    monkeypatch.setitem(sys.modules, "moxing", None)
    with pytest.raises(ReportedError, match=r"needs the package moxing, .* elsewhere leave --enable_modelarts out"):
        cloud.job().__enter__()
    assert cloud.left_locks() == []


def test_results_are_there_when_the_run_fails(cloud, caplog):
    """The run's own error is told, also when the copy fails."""
    with pytest.raises(StopError, match="stopped by SIGTERM"), cloud.job() as results:
        write(results / "train.log", "stopped")
        raise StopError(15, "stopped by SIGTERM")
    assert cloud.uploaded() == {"train.log": "stopped"}
    cloud.faults("always=b/results")
    with heard(caplog), pytest.raises(KeyboardInterrupt), cloud.job():
        raise KeyboardInterrupt
    assert [r.levelname for r in caplog.records if "cannot copy results from" in r.getMessage()] == ["WARNING"] * 3 + [
        "ERROR"
    ]
    assert cloud.left_locks() == []


def test_results_that_cannot_be_copied_out_are_an_error(cloud):
    """All that can be copied is: one file that fails does not keep the others."""
    cloud.faults("always=bad")
    with pytest.raises(ReportedError) as error, cloud.job() as results:
        for name in ("a bad file", "last"):
            write(results / name, "text")
    assert f"cannot copy results from {cloud.output} to train_url obs://b/results/: Failed to call" in str(error.value)
    assert "(4 attempts); they are still in output_path on this host" in str(error.value)
    assert cloud.uploaded() == {"last": "text"}
    assert texts(cloud.output) == {"a bad file": "text", "last": "text"}


def test_only_what_changed_is_copied_during_the_run(cloud, caplog):
    with heard(caplog), cloud.job(upload_interval=0.05) as results:
        write(results / "0-1_1.ckpt", "weights")
        write(results / "train.log", "first line")
        wait_until(lambda: len(cloud.uploaded()) == 2)
        cloud.faults("always=b/results")
        write(results / "train.log", "first line, second line")
        wait_until(lambda: any(record.levelname == "WARNING" for record in caplog.records))
        (results / "0-1_1.ckpt").unlink()  # keep_checkpoint_max
        cloud.faults("")
    assert cloud.uploaded() == {"0-1_1.ckpt": "weights", "train.log": "first line, second line"}
    assert sum("0-1_1.ckpt" in call for call in cloud.calls()) == 1
    assert not [thread for thread in threading.enumerate() if thread.name == "upload"]


def wait_until(condition) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def test_resume_brings_what_was_uploaded(cloud):
    """Not over what is here already, not back out again, and in an order that `--resume auto` understands."""
    for run, text in (("2026-01-02_time_00_00_00", "late"), ("2026-01-01_time_00_00_00", "early")):
        write(cloud.bucket / "results" / run / "0-1_1.ckpt", text)
        write(cloud.bucket / "results" / run / "train.log", text)
    write(cloud.output / "2026-01-02_time_00_00_00" / "train.log", "later")
    with cloud.job(resume=True) as results:
        found = texts(results)
        ages = [path.stat().st_mtime for path in sorted(results.glob("*/*"))]
    assert found == {
        "2026-01-01_time_00_00_00/0-1_1.ckpt": "early",
        "2026-01-01_time_00_00_00/train.log": "early",
        "2026-01-02_time_00_00_00/0-1_1.ckpt": "late",
        "2026-01-02_time_00_00_00/train.log": "later",
    }
    assert ages == sorted(set(ages))
    assert [call for call in cloud.calls() if call.startswith("copy|")] == [
        "copy|ROOT/output/2026-01-02_time_00_00_00/train.log|obs://b/results/2026-01-02_time_00_00_00/train.log"
    ]


def test_there_is_nothing_to_resume_from_yet(cloud):
    with cloud.job(resume=True) as results:
        assert texts(results) == {}
    assert cloud.calls() == ["copy_parallel|obs://b/data set|ROOT/data"]


# One rank of a job, as a process of its own: it tells what it finds, stays until its input ends, and leaves a result.
RANK = """
import json, sys
from pathlib import Path
from src.model_utils.moxing_adapter import modelarts
from src.utils.errors import ReportedError
name, arguments = sys.argv[1], json.loads(sys.argv[2])
try:
    with modelarts(**arguments) as results:
        print("found:", *sorted(path.name for path in Path(arguments["data_path"]).iterdir()), flush=True)
        order = sys.stdin.read()
        (results / name).write_text("done")
        if order:
            raise MemoryError(order)
except ReportedError as error:
    print("found:", error, flush=True)
"""


@pytest.fixture
def start(cloud):
    """start(name, role): a process; it is ended after the test."""
    started = []

    def start_rank(name: str, role: str = "MS_WORKER") -> subprocess.Popen:
        variables = {"MS_ROLE": role, "MS_SCHED_HOST": "127.0.0.1", "MS_SCHED_PORT": "8118"}
        variables["PYTHONPATH"] = str(ROOT / "tests" / "moxing_stand_in")
        argv = [sys.executable, "-c", RANK, name, json.dumps(cloud.arguments())]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(argv, cwd=ROOT, env=os.environ | variables, **pipes))
        return started[-1]

    yield start_rank
    for process in started:
        process.kill()
        process.communicate()


def found(process: subprocess.Popen) -> str:
    """What a rank finds once it is inside, or why it is not."""
    return next(line for line in process.stdout if line.startswith("found: ")).removeprefix("found: ").strip()


@pytest.mark.slow
def test_one_rank_copies_and_the_others_and_the_scheduler_wait(cloud, start, monkeypatch):
    stale = leave_stale_files(cloud, monkeypatch)
    cloud.faults("slow=0.5")
    processes = [start("scheduler", "MS_SCHED"), start("one"), start("other")]
    assert [found(process) for process in processes] == ["names.txt train"] * 3
    assert cloud.calls() == ["copy_parallel|obs://b/data set|ROOT/data"]
    assert stale.exists()
    for process in reversed(processes):  # the scheduler, which copies nothing, comes last
        process.communicate()
    assert cloud.uploaded() == {"one": "done", "other": "done"}
    assert not stale.exists()


def test_a_rank_that_fails_copies_out_for_itself(cloud, start):
    """The copier may be stuck, waiting for it, until it is killed."""
    copier = start("copier")
    found(copier)
    rank = start("rank")
    found(rank)
    rank.communicate("of one rank only")
    assert rank.returncode == 1
    assert cloud.uploaded() == {"rank": "done"}
    copier.kill()
    copier.communicate()
    assert cloud.left_locks() == []


def leave_stale_files(cloud: Cloud, monkeypatch) -> Path:
    """What a job of the same name leaves when it is killed: it would be believed to have failed."""
    for name, value in {"MS_ROLE": "MS_WORKER", "MS_SCHED_HOST": "127.0.0.1", "MS_SCHED_PORT": "8118"}.items():
        monkeypatch.setenv(name, value)
    keys = ("data_url", "train_url", "checkpoint_url", "data_path", "output_path", "load_path")
    place = host_meeting.meeting_place(*(cloud.arguments()[key] for key in keys))
    for name, text in (("copier", ""), ("ready", "an old error"), ("uploaded", '{"one": [4, 0]}')):
        write(place / name, text)
    return place


@pytest.mark.slow
def test_a_copier_that_fails_tells_the_others(cloud, start):
    cloud.faults("always=b/data full slow=2")
    processes = [start("one"), start("other"), start("scheduler", "MS_SCHED")]
    (error,) = {found(process) for process in processes}
    assert "No space left on device" in error
    assert len(cloud.calls()) == 1
    for process in processes:
        process.communicate()
    assert cloud.left_locks() == []


def test_another_rank_takes_over_from_a_killed_copier(cloud, start):
    cloud.faults("slow=60")
    copier = start("one")
    wait_until((cloud.root / "buckets" / "calls.log").exists)
    cloud.faults("")
    other = start("other")
    time.sleep(0.5)
    copier.kill()
    assert found(other) == "names.txt train"


def test_the_folder_of_somebody_else_is_not_used(cloud, monkeypatch):
    with cloud.job():
        (place,) = cloud.left_locks()
    place.symlink_to(cloud.root)
    with pytest.raises(ReportedError, match=r"belongs to somebody else; set TMPDIR"):
        cloud.job().__enter__()
    place.unlink()
    other = os.getuid() + 1
    (cloud.root / "tmp" / place.name.replace(f"-{os.getuid()}-", f"-{other}-")).mkdir()
    monkeypatch.setattr(os, "getuid", lambda: other)
    with pytest.raises(ReportedError, match=r"belongs to somebody else; set TMPDIR"):
        cloud.job().__enter__()


def test_the_device_that_modelarts_names(monkeypatch):
    """It starts the command once a device, and sets these variables."""
    for name, value in {"RANK_TABLE_FILE": "t", "RANK_ID": "9", "RANK_SIZE": "16", "ASCEND_DEVICE_ID": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DEVICE_ID", raising=False)
    place = launcher_place()
    assert (place.launched, place.rank, place.world_size, place.device_id) == (True, 9, 16, 1)
