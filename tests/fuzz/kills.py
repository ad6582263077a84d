"""Runs with every ingredient of a recipe at once that are killed, go on, and end with the same bits.

python tests/fuzz/kills.py 20 [SEED]      # trials, of the three recipes in turn

Each trial kills one run twice, at moments that aim at all that a run does, and lets it end. What is compared is all
that a checkpoint holds (weights, statistics, momenta, averages, loss scale), every row of metrics.csv, every logged
loss and learning rate, and best.ckpt.
"""

import random
import signal
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from forked import forks
from test_resume import (
    DROPOUT,
    INGREDIENTS,
    KINDS,
    SCALED,
    Session,
    assert_same_end,
    half_written,
    kill,
    moment_of_death,
    newest,
    run_to_the_end,
)

from src.utils.checkpoint import list_checkpoints, load_checkpoint

# Two batches of 64 an update make as many updates an epoch as one of 128, which `moment_of_death` expects.
MORE = """--max_epoch 4 --progressive_size 12,16 --eval_image_size 20 --freeze 1 --nesterov true --grad_clip_norm 5
    --class_weights auto --decay_norm_and_bias false --per_batch_size 64 --grad_accumulation_steps 2"""
OTHERS = """--cpu_kernels off --lr_scheduler polynomial --lr_power 0.9 --warmup_epochs 1 --auto_augment rand
    --augmentation_streams image"""
RECIPES = {
    "C++ kernels, one_cycle, trivial": DROPOUT,
    "plain network, polynomial, rand, streams of each image": [*DROPOUT, *OTHERS.split()],
    "plain network in float16, skipped updates, auto": [*SCALED, "--auto_augment", "auto"],
}
PARTS = {"moments.": "momenta", "ema.": "averages"}


def trial(forked, root: Path, flags: list[str], undisturbed: Path, dice: random.Random, deaths: Counter) -> None:
    """Raises AssertionError when the ends differ."""
    for _ in range(2):
        before = half_written(root) if root.is_dir() else set()
        session = Session(forked, root, *flags, "--resume", "auto")
        kill(session, min(KINDS, key=lambda kind: deaths[kind]), dice)
        status, stderr = session.end()
        assert (status, stderr) in ((-signal.SIGKILL, []), (0, [])), stderr
        deaths["end" if status == 0 else moment_of_death(session, before)] += 1
    session = Session(forked, root, *flags, "--resume", "auto")
    assert session.end() == (0, [])
    assert_same_end(newest(root).parent, undisturbed)


def held_by(folder: Path) -> Counter:
    """How many arrays of each part of the training's state the last checkpoint of a run has."""
    names = load_checkpoint(list_checkpoints(folder)[0]).arrays
    return Counter(next((part for prefix, part in PARTS.items() if n.startswith(prefix)), "weights") for n in names)


def main(trials: int, seed: int) -> int:
    """Run the trials; return how many ended with other bits."""
    dice, deaths, failed = random.Random(seed), Counter(), 0
    with tempfile.TemporaryDirectory() as place, forks() as forked:
        teacher = run_to_the_end(Path(place, "teacher"), "--max_epoch", "1") / "best.ckpt"
        recipes, ends = [], []
        for name, more in RECIPES.items():
            recipes.append([*INGREDIENTS.split(), str(teacher), *MORE.split(), *more])
            ends.append(run_to_the_end(Path(place, f"end{len(ends)}"), *recipes[-1]))
            print(f"{name}: compared are arrays of {dict(held_by(ends[-1]))}", flush=True)
        for number in range(trials):
            which = number % len(recipes)
            try:
                trial(forked, Path(place, str(number)), recipes[which], ends[which], dice, deaths)
            except AssertionError:
                failed += 1
                traceback.print_exc()
            print(f"{number + 1 - failed} of {number + 1} the same; killed {dict(deaths)}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1))
