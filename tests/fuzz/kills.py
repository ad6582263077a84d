"""Runs with every ingredient of a recipe at once that are killed, go on, and end with the same bits.

python tests/fuzz/kills.py 20 [SEED]      # trials; half of them of the C++ kernels, half of the plain network

Each trial kills one run twice, at moments that aim at all that a run does, and lets it end.
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
    Session,
    assert_same_end,
    half_written,
    kill,
    moment_of_death,
    newest,
    run_to_the_end,
)

EPOCHS = ["--max_epoch", "4", "--progressive_size", "12,16"]


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


def main(trials: int, seed: int) -> int:
    """Run the trials; return how many ended with other bits."""
    dice, deaths, failed = random.Random(seed), Counter(), 0
    with tempfile.TemporaryDirectory() as place, forks() as forked:
        teacher = run_to_the_end(Path(place, "teacher"), "--max_epoch", "1") / "best.ckpt"
        recipes = [
            [*DROPOUT, *INGREDIENTS.split(), str(teacher), *EPOCHS, *more] for more in ([], ["--cpu_kernels", "off"])
        ]
        ends = [run_to_the_end(Path(place, f"end{i}"), *flags) for i, flags in enumerate(recipes)]
        for number in range(trials):
            try:
                trial(forked, Path(place, str(number)), recipes[number % 2], ends[number % 2], dice, deaths)
            except AssertionError:
                failed += 1
                traceback.print_exc()
            print(f"{number + 1 - failed} of {number + 1} the same; killed {dict(deaths)}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1))
