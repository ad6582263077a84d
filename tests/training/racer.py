"""One of the processes of test_run_folder.py that all at once resume the one run in each folder `race_*`."""

import sys
import time
from pathlib import Path

from src.model_utils.group import ALONE
from src.training.run_folder import find_checkpoint, open_run_folder
from src.utils.errors import ReportedError


def wait_for(count: int, root: Path) -> None:
    """Return when so many racers have been told, or have trained."""
    end = time.monotonic() + 60
    while len(list(root.glob("told_*"))) < count and time.monotonic() < end:
        time.sleep(0.001)


def race(root: Path, racers: int, own: int) -> str:
    """What racer number `own` is told, or where it trains; they ask in three ways."""
    (run,) = (path for path in root.iterdir() if path.is_dir() and "time" in path.name)
    (root / f"here_{own}").touch()
    while len(list(root.glob("here_*"))) < racers:
        pass
    resume = ("auto", str(run), str(run / "0-2_1.ckpt"))[own % 3]
    try:
        with open_run_folder(root, ALONE, find_checkpoint(resume, root, 0), resume) as folder:
            wait_for(racers - 1, root)  # as long as it trains, the others are told
        said = f"trained in {folder.name}"
    except ReportedError as error:
        said = str(error)
    (root / f"told_{own}").touch()
    wait_for(racers, root)
    return said


if __name__ == "__main__":
    for folder_of_race in sorted(Path(sys.argv[1]).glob("race_*")):
        print(race(folder_of_race, int(sys.argv[2]), int(sys.argv[3])), flush=True)
