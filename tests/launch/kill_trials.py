"""Kill a rank, the scheduler or the launcher of a real job at random moments of training; not a test: it takes minutes.

python tests/launch/kill_trials.py rank|scheduler|launcher TRIALS

Of two ranks, on the bundled digits. A line for each trial: after how long what was left of the start was gone, how many
processes stayed behind, and whether the job, which goes on from its newest checkpoint, ends with the weights of an
undisturbed one.
"""

import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from commands import NETWORK, only, weights  # noqa: E402
from launch.jobs import Launched, processes_of, wait_for  # noqa: E402

EPOCHS, STEPS = 30, 5
FLAGS = [*NETWORK[2:], "--image_size", "8", "--max_epoch", EPOCHS, "--per_batch_size", "128", "--ckpt_interval", "2"]
LATEST = 6  # seconds after the first checkpoint; training takes about twice that


def start(folder: Path, *flags: str, **settings: object) -> Launched:
    """The job, with `settings` in its environment."""
    arguments = ["2", "densenet100", "digits", "bundled", *FLAGS, *flags]
    return Launched("run_distribute_train_cpu.sh", *arguments, folder=folder, **settings)


def last_weights(folder: Path) -> dict[str, bytes]:
    """Every array that the job ended with, as bytes."""
    arrays = weights(only(folder / "train0") / f"0-{EPOCHS}_{STEPS}.ckpt")
    return {name: value.tobytes() for name, value in arrays.items()}


def trial(kind: str, folder: Path) -> str:
    """Run the job, kill `kind`, let it go on; return what to print before whether the weights are the same."""
    job = start(folder, MAX_RESTARTS=0 if kind == "launcher" else 1)
    job.file("train0/*/0-*.ckpt")
    name = f"rank_{random.randrange(2)}" if kind == "rank" else kind
    victim = job.process.pid if kind == "launcher" else job.pid(name)
    old = set(processes_of(folder)) - {job.process.pid}
    delay = random.uniform(0, LATEST)
    time.sleep(delay)
    os.kill(victim, signal.SIGKILL)
    killed = time.monotonic()
    wait_for(lambda: not old & set(processes_of(folder)), 90)
    seconds = time.monotonic() - killed
    if kind == "launcher":
        job.process.wait()
        left = len(processes_of(folder))
        job = start(folder, "--resume", "auto")
        output, _ = job.process.communicate()
    else:
        output, _ = job.process.communicate()
        left = len(processes_of(folder))
    resumed = "resumed from" in output
    return (
        f"{name} killed {delay:.1f} s after the first checkpoint, over after {seconds:.1f} s, left {left}, {resumed=}"
    )


def main(kind: str, trials: str) -> None:
    """Print the trials' lines."""
    root = Path(tempfile.mkdtemp(prefix="kill trials "))
    start(root / "undisturbed").process.communicate()
    expected = last_weights(root / "undisturbed")
    for number in range(int(trials)):
        folder = root / f"{number}"
        line = trial(kind, folder)
        print(f"{line}, same weights={last_weights(folder) == expected}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
