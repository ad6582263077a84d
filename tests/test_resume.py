"""Runs of train.py that are killed, stopped or run out of disk, and go on as if nothing had happened.

The runs use what could break exactness: random augmentation, dropout, momenta, BN statistics, checkpoints inside an
epoch, and the ingredients of a recipe, all at once (tests/fuzz/kills.py does that more often). Everything is compared
bit for bit with a run that nobody disturbed.
"""

import csv
import random
import re
import signal
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from commands import ROOT, contents, only
from forked import Forks

import train
from src.utils.checkpoint import list_checkpoints, load_checkpoint

FEWEST_OF_A_KIND = 1  # tests/fuzz/kills.py kills more
KINDS = ("checkpoint", "evaluation", "step", "start")
EPOCHS, STEPS = 8, 11
RUN = """--dataset digits --net densenet100 --block_config 1,1,1 --growth_rate 4 --stem_features 8 --image_size 16
    --augmentation full --eval_data_dir bundled --ckpt_interval 3 --per_batch_size 128
    --log_interval 4 --num_parallel_workers 2"""
DROPOUT = ["--drop_rate", "0.1"]  # of the C++ kernels; with float16, as below, of the plain network
INGREDIENTS = """--auto_augment trivial --random_erasing 0.3 --mixup 0.2 --cutmix 1 --label_smooth true --ema_decay 0.99
    --lr_scheduler one_cycle --layer_lr_decay 0.8 --patience 99 --max_hours 99 --teacher"""
SCALED = [*DROPOUT, "--amp_level", "O2", "--loss_scale_type", "dynamic", "--loss_scale", str(2**40)]
SMALLER = ["--image_size", "8", "--block_config", "1,1"]  # in float16 MindSpore takes its time
FIRST_STEP = "the first step, with compilation"
EPOCH_LINE = re.compile(r"epoch\[(\d+)\], iter\[\d+\], loss:\d+\.\d+, mean_fps:\d+\.\d+ imgs/sec")

pytestmark = pytest.mark.slow


class Session:
    """One process of train.py that saves below `root`; its stdout grows in a file beside that folder."""

    def __init__(self, forked: Forks, root: Path, *flags: str, max_file_size: int = 0) -> None:
        self.root = root
        root.mkdir(exist_ok=True)
        self._stdout, stderr = (
            root.parent / f"{root.name}_{stream}_{time.monotonic_ns()}.txt" for stream in ("stdout", "stderr")
        )
        self._stdout.touch()
        argv = [*RUN.split(), "--save_ckpt_path", str(root), *flags]
        self.process = forked.start("train", argv, ROOT, self._stdout, stderr, max_file_size=max_file_size, drawn=True)

    def lines(self) -> list[str]:
        """The messages of the log so far, without date and level."""
        return [line.split(":INFO:")[-1] for line in self._stdout.read_text().splitlines()]

    def wait_until(self, condition, poll_seconds: float = 0.0) -> None:
        """Return as soon as `condition()` holds, or the process has ended."""
        while not condition() and self.process.poll() is None:
            time.sleep(poll_seconds)

    def wait_for_first_step(self) -> None:
        self.wait_until(lambda: FIRST_STEP in self._stdout.read_text(), 0.02)

    def end(self) -> tuple[int, list[str]]:
        """Wait for the process; its exit status and the lines on stderr."""
        return self.process.wait(200), self.process.stderr.read_text().splitlines()


def half_written(root: Path) -> set[Path]:
    """The checkpoints below `root` that are being written, or were when the writer was killed.

    MindSpore fills `.tmp-ID.tmp` and renames it `.tmp-ID.ckpt`, which src.utils.files then moves into place.
    """
    return {path for ending in ("ckpt", "tmp") for path in root.glob(f"*/.tmp-*.{ending}")}


def kill(session: Session, kind: str, dice: random.Random) -> None:
    """Send SIGKILL at a moment that aims at `kind`."""
    before = half_written(session.root)
    if kind == "start":
        time.sleep(dice.uniform(0, 0.8))
    else:
        session.wait_for_first_step()
    if kind == "step":
        time.sleep(dice.uniform(0, 0.8))
        session.wait_until(lambda: moment_of_death(session, before) == kind)
    elif kind == "evaluation":
        session.wait_until(lambda: EPOCH_LINE.fullmatch(session.lines()[-1]), 0.002)
        time.sleep(dice.uniform(0.01, 0.2))
    elif kind == "checkpoint":
        seen, which = set(before), dice.randint(1, 4)
        while session.process.poll() is None and len(seen) < len(before) + which:
            seen |= half_written(session.root)
    session.process.send_signal(signal.SIGKILL)


def moment_of_death(session: Session, half_written_before: set[Path]) -> str:
    """What the killed process was doing, from what it left behind."""
    lines = session.lines()
    if half_written(session.root) - half_written_before:
        return "checkpoint"
    if not any(FIRST_STEP in line for line in lines):
        return "start"
    epoch_line = EPOCH_LINE.fullmatch(lines[-1])
    if epoch_line and newest(session.root).name == f"0-{int(epoch_line[1]) + 1}_{STEPS}.ckpt":
        return "evaluation"
    return "step"


def newest(root: Path) -> Path | None:
    """The checkpoint below `root` that lies furthest in training."""
    found = {path: list_checkpoints(path) for path in root.iterdir()}
    return next((paths[0] for paths in found.values() if paths), None)


def table(folder: Path) -> list[dict]:
    """The rows of metrics.csv without the two columns that measure time."""
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if k not in ("images_per_second", "data_wait_percent")} for row in rows]


def logged_losses(folder: Path) -> set[tuple[str, ...]]:
    """(epoch, iteration, loss, learning rate) of every log line; steps done again after a kill log the same."""
    pattern = re.compile(r"epoch\[(\d+)\], iter\[(\d+)\], loss:(\S+), mean_fps:\S+ imgs/sec(.*)")
    return {found.groups() for found in pattern.finditer((folder / "train.log").read_text())}


def assert_same_end(folder: Path, undisturbed: Path) -> None:
    """Both runs' last checkpoints, tables, logged losses and best results are the same, bit for bit."""
    last, expected = load_checkpoint(list_checkpoints(folder)[0]), load_checkpoint(list_checkpoints(undisturbed)[0])
    assert last.path.name == expected.path.name
    assert list(last.arrays) == list(expected.arrays)
    differing = [name for name in expected.arrays if last.arrays[name].tobytes() != expected.arrays[name].tobytes()]
    assert not differing
    assert table(folder) == table(undisturbed)
    assert logged_losses(folder) == logged_losses(undisturbed)
    for key in ("best_score", "not_better"):
        assert last.metadata["progress"][key] == expected.metadata["progress"][key]
    assert last.metadata["progress"]["seconds"] > 0
    best, expected_best = load_checkpoint(folder / "best.ckpt"), load_checkpoint(undisturbed / "best.ckpt")
    assert best.metadata["progress"]["best_score"] == expected_best.metadata["progress"]["best_score"]
    assert all(np.array_equal(best.arrays[name], value) for name, value in expected_best.arrays.items())


def run_to_the_end(root: Path, *flags: str) -> Path:
    """Run undisturbed, in this process; the run folder."""
    train.main([*RUN.split(), "--save_ckpt_path", str(root), *flags])
    return only(root)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    """The folder of two epochs that nobody disturbed, computed by the C++ kernels."""
    folder = run_to_the_end(tmp_path_factory.mktemp("undisturbed") / "output", "--max_epoch", "2")
    assert "the C++ kernels are used" in (folder / "train.log").read_text()
    return folder


def test_killed_at_any_moment_and_resumed_a_run_ends_bit_identical(undisturbed, tmp_path, forked):
    flags = [*DROPOUT, *INGREDIENTS.split(), str(undisturbed / "best.ckpt"), "--max_epoch", str(EPOCHS)]
    undisturbed = run_to_the_end(tmp_path / "undisturbed", *flags)
    root, dice, deaths = tmp_path / "killed", random.Random(1), Counter()
    while min(deaths[kind] for kind in KINDS) < FEWEST_OF_A_KIND:
        found = newest(root) if root.is_dir() else None
        resume = str(found.parent) if found and deaths.total() % 2 else "auto"
        before = half_written(root)
        session = Session(forked, root, *flags, "--resume", resume)
        kill(session, min(KINDS, key=lambda kind: deaths[kind]), dice)
        assert session.end() == (-signal.SIGKILL, []), f"the run ended before it was killed: lengthen it; {deaths}"
        deaths[moment_of_death(session, before)] += 1
    print(f"killed {dict(deaths)}")
    session = Session(forked, root, *flags, "--resume", "auto")
    assert session.end() == (0, [])
    assert_same_end(newest(root).parent, undisturbed)
    assert not list(newest(root).parent.glob(".tmp-*"))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_a_checkpoint_and_the_resumed_run_ends_bit_identical(
    number, status, undisturbed, tmp_path, forked
):
    session = Session(forked, tmp_path / "output", "--max_epoch", "2", "--ckpt_interval", "0")
    session.wait_for_first_step()
    session.process.send_signal(number)
    exit_status, stderr = session.end()
    assert exit_status == status, stderr
    (saved,) = list_checkpoints(only(session.root))
    folder = only(session.root)
    assert stderr == [f"error: stopped by {number.name} (saved: {saved}); go on with --resume {folder}"]
    assert re.fullmatch(r"0-1_[1-9]\d?\.ckpt", saved.name)
    assert run_to_the_end(session.root, "--max_epoch", "2", "--resume", str(folder)) == folder
    assert_same_end(folder, undisturbed)


def test_the_state_of_dynamic_loss_scaling_resumes_bit_identical(tmp_path, forked):
    flags = [*SCALED, *SMALLER, "--max_epoch", "2"]
    undisturbed = run_to_the_end(tmp_path / "undisturbed", *flags)
    session = Session(forked, tmp_path / "stopped", *flags)
    session.wait_until(lambda: newest(session.root), 0.01)  # after 3 steps, while the scale is still too high
    session.process.send_signal(signal.SIGKILL)
    session.end()
    stopped = load_checkpoint(newest(session.root))
    assert stopped.arrays["skipped_steps"] == np.log2(2**40 / stopped.arrays["loss_scale"]) > 0
    assert_same_end(run_to_the_end(session.root, *flags, "--resume", "auto"), undisturbed)
    last = load_checkpoint(newest(session.root)).arrays
    assert last["skipped_steps"] > stopped.arrays["skipped_steps"]
    assert last["skipped_steps"] + last["good_steps"] == 2 * STEPS


def test_a_full_disk_ends_with_one_line_and_the_earlier_checkpoint_intact(undisturbed, tmp_path, forked):
    folder = run_to_the_end(tmp_path / "output", "--max_epoch", "1")
    (earlier, *_) = list_checkpoints(folder)
    before = contents(folder)
    full = Session(forked, folder.parent, "--max_epoch", "2", "--resume", str(folder), max_file_size=20_000)
    status, stderr = full.end()
    assert status == 1
    assert stderr == [
        f"error: cannot write {folder / 'best.ckpt'}: File too large; free the disk or choose another folder"
    ]
    assert contents(folder)[earlier.name] == before[earlier.name]
    assert list_checkpoints(folder)[0] == earlier
    assert run_to_the_end(folder.parent, "--max_epoch", "2", "--resume", str(folder)) == folder
    assert_same_end(folder, undisturbed)
