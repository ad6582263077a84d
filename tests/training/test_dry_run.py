"""What a dry run says: the arithmetic of its estimate, and that its numbers are measured on the run's own steps."""

from itertools import islice

import numpy as np
import pytest
import toy
from commands import TINY

import train
from src.model_utils.group import ALONE
from src.training.dry_run import DryRun, dry_run
from src.training.plan import Plan
from src.training.progress import Progress
from src.utils.memory import available_memory, held_memory, measured_peak


def cost(memory: dict[int, int], room: int | None) -> DryRun:
    return DryRun(
        batch_size=8, compilation=2.0, step=0.5, wait_percent=3.0, images_per_second=16.0, evaluation=4.0, left=7200.0,
        memory=memory, room=room,
    )  # fmt: skip


def test_the_largest_batch_is_what_the_room_holds():
    found = cost({4: 1_400_000_000, 8: 1_800_000_000}, 3_000_000_000)
    assert (found.bytes_per_image, found.largest_batch) == (100_000_000, 20)
    assert found.lines() == [
        "dry run: first step, with compilation, 2.0 s; then 0.5 s a step, 16.0 images/s, 3 % of the time waiting for "
        "data",
        "dry run: 2.0 h to the end, evaluations of 4.0 s included",
        "dry run: memory of a process 1.80 GB at batch 8, 100 MB an image; the largest batch in the 3.0 GB that it "
        "may have is about 20, estimated from batches of 4 and 8",
    ]


@pytest.mark.parametrize(
    ("memory", "room"),
    [({4: 10**9, 8: 10**9}, 3 * 10**9), ({4: 10**9, 8: 2 * 10**9}, None)],
    ids=["no growth", "no room"],
)
def test_what_cannot_be_told_is_said_so(memory, room):
    found = cost(memory, room)
    assert found.largest_batch is None
    assert found.lines()[-1].endswith("the largest batch that fits cannot be told here")


def test_a_batch_that_does_not_fit_is_larger_than_the_largest():
    assert cost({4: 3 * 10**9, 8: 5 * 10**9}, 4 * 10**9).largest_batch == 6


def test_the_peak_is_what_was_held_inside():
    with measured_peak() as small:
        np.ones(2_000_000)
    with measured_peak() as large:
        np.ones(25_000_000)  # 200 MB, freed before the end
    with measured_peak() as after:
        np.ones(2_000_000)
    assert 150e6 < large.bytes - small.bytes < 260e6
    assert large.bytes - after.bytes > 150e6, "what is past is forgotten"
    assert 0 < held_memory() <= large.bytes


def test_the_tightest_limit_counts():
    files = {
        "/proc/meminfo": "MemTotal: 9000 kB\nMemAvailable:    5000 kB\n",
        "/proc/self/cgroup": "0::/job\n",
        "/sys/fs/cgroup/job/memory.max": "4000000\n",
        "/sys/fs/cgroup/job/memory.current": "1000000\n",
    }
    assert available_memory(lambda path: files.get(path, "")) == (3_000_000, 4_000_000)
    files["/sys/fs/cgroup/job/memory.max"] = "max"
    assert available_memory(lambda path: files.get(path, "")) == (5000 * 1024, None)


def test_it_runs_the_steps_of_the_run():
    """With accumulation, of the run's own data, and no more of the evaluation than it takes to time it."""
    step = toy.make_step(accumulation_steps=2)
    taken, asked = [], []

    def batches(epoch: int):
        for i in range(5):
            taken.append((epoch, i))
            yield *toy.make_data(6, seed=i), np.arange(6)

    def evaluate(stop_requested) -> None:
        for _ in islice(iter(stop_requested, True), 1000):
            asked.append(1)

    plan = Plan(max_epoch=10, num_images=66, batch_size=6, accumulation_steps=2, eval_interval=2)
    found = dry_run(
        step, batches, plan, Progress(epoch=4), ALONE, device="CPU", rate=0.01, evaluate=evaluate, num_held_out=600
    )
    assert set(found.memory) == {3, 6} and all(used > 50e6 for used in found.memory.values())
    assert taken[:6] == [(9, 0), (9, 1), (9, 2), (9, 3), (9, 4), (10, 0)], "a step has two batches, an epoch two steps"
    assert len(asked) == 5
    assert found.left == pytest.approx(6 * 5 * found.step + 3 * found.evaluation)


@pytest.mark.slow
def test_the_command_leaves_nothing_behind(tmp_path, capsys):
    flags = ["--eval_data_dir", "bundled", "--dry_run", "--max_epoch", "300"]
    progress = train.main([*TINY, *flags, "--save_ckpt_path", str(tmp_path / "out")])
    assert (progress.epoch, progress.images, progress.history) == (0, 0, [])
    said = [line for line in capsys.readouterr().out.splitlines() if ":INFO:dry run: " in line]
    assert len(said) == 3 and " to the end, evaluations of " in said[1]
    assert list(tmp_path.iterdir()) == []
