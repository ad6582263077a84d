"""Pictures per second of a class folder, of MindRecord shards and of caches, cold and warm, taking turns.

python scripts/benchmark_reading.py
python scripts/benchmark_reading.py --pictures 100000 --side 64 --image_size 32 --rounds 3 --folder DISK

Writes that many JPEGs, parts of scikit-learn's two photographs, into class folders in a new folder below --folder (on
the disk that is to be measured), packs them, and reads all of them in the order of a training epoch: the files alone,
and as batches of --augmentation shift. Cold: the system was told to forget the files before. Prints a table with the
load of the machine, and leaves nothing behind.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

from src.datasets.augmentation import Augmentation
from src.datasets.caching import Wanted, open_caches
from src.datasets.classification import TrainingInput, stages_of_training, training_batches, worker_count
from src.datasets.pack import pack
from src.datasets.preprocessing import default_preprocessing
from src.datasets.sampler import epoch_order
from src.datasets.source import Source
from src.datasets.sources import open_source
from src.utils.arguments import Parser
from src.utils.errors import run
from src.utils.read_ahead import in_order

CLASSES = 10
BATCH = 64
SHIFT = Augmentation("shift")


@dataclass(frozen=True)
class Way:
    """One way to read: forget() has the system drop its files, read() reads all pictures and returns how many."""

    name: str
    read: Callable[[], int]
    forget: Callable[[], None] | None


def main(argv: Sequence[str]) -> dict[str, float]:
    """Measure as the command line `argv` says and print a table; return pictures per second by the way's name."""
    asked = parse(argv)
    with TemporaryDirectory(prefix="densenet-reading-", dir=asked.folder) as folder:
        root = Path(folder)
        with patch.dict(os.environ, {"XDG_CACHE_HOME": str(root / "cache")}):
            _write(root / "pictures", asked.pictures, asked.side)
            ways = list(_ways(root, asked.image_size))
            before = os.getloadavg()[0]
            rates: dict[str, list[float]] = {}
            for way in ways:
                way.read()  # each picture's bytes are checked when they are seen for the first time
            for _ in range(asked.rounds):
                for way in ways:
                    for state in ("cold", "warm") if way.forget else ("warm",):
                        if state == "cold":
                            way.forget()
                        started = time.perf_counter()
                        count = way.read()
                        rates.setdefault(f"{way.name}, {state}", []).append(count / (time.perf_counter() - started))
    found = {name: median(values) for name, values in rates.items()}
    load = f"load {before:.1f} before, {os.getloadavg()[0]:.1f} after, on {len(os.sched_getaffinity(0))} cores"
    print(f"{asked.pictures} JPEGs of {asked.side} x {asked.side}, medians of {asked.rounds}; {load}\n")
    print("| Way | pictures/s | lowest to highest |\n|---|---|---|")
    for name, values in rates.items():
        print(f"| {name} | {found[name]:,.0f} | {min(values):,.0f} to {max(values):,.0f} |")
    return found


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line; raises UsageError."""
    parser = Parser("python scripts/benchmark_reading.py [--key value] ...", __doc__)
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--image_size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None)
    asked = parser.parse_args(argv)
    for name, least, most in (("pictures", BATCH, 10**7), ("side", 8, 256), ("image_size", 8, 64), ("rounds", 1, 100)):
        if not least <= getattr(asked, name) <= most:
            parser.error(f"--{name}: found {getattr(asked, name)}, expected {least} to {most}")
    return asked


def _write(folder: Path, count: int, side: int) -> None:
    photographs, random = load_sample_images().images, np.random.default_rng(0)
    for label in range(CLASSES):
        (folder / f"class {label}").mkdir(parents=True)
    for i in range(count):
        photograph = photographs[i % 2]
        top, left = (random.integers(length - side) for length in photograph.shape[:2])
        part = Image.fromarray(photograph[top : top + side, left : left + side])
        part.save(folder / f"class {i % CLASSES}" / f"{i:07d}.jpg", quality=90)


def _ways(root: Path, image_size: int) -> Iterator[Way]:
    workers, preprocessing = worker_count(), default_preprocessing("folder", image_size)
    source = open_source("folder", root / "pictures", split="train")
    pack(source, root / "packed", per_shard=10_000, side=0, workers=workers, said=lambda _: None)
    packed = open_source("mindrecord", root / "packed", split="train")

    def batches(of: Source) -> Callable[[], int]:
        how = TrainingInput(augmentation=SHIFT, batch_size=BATCH, seed=0, workers=workers)
        return lambda: sum(len(images) for images, *_ in training_batches(of, preprocessing, how, epoch=0))

    for name, of, folder in (("folder", source, "pictures"), ("MindRecord", packed, "packed")):
        yield Way(f"{name}, files alone", _reader(of, workers), _forgetter(root / folder))
        yield Way(f"{name}, batches", batches(of), _forgetter(root / folder))
    stages = stages_of_training(source, preprocessing, SHIFT)
    for where in ("disk", "ram"):
        (cached,) = open_caches(where, [Wanted(source, "training", stages)], workers=workers)
        forget = _forgetter(root / "cache") if where == "disk" else None
        yield Way(f"cache {where}, batches", batches(cached), forget)


def _reader(source: Source, workers: int) -> Callable[[], int]:
    order = epoch_order(len(source), 0, 0).tolist()

    def read() -> int:
        with ThreadPoolExecutor(workers) as pool:
            return sum(1 for _ in in_order((lambda i=i: source.read(i) for i in order), pool, 4 * workers))

    return read


def _forgetter(folder: Path) -> Callable[[], None]:
    """Has the system drop what it keeps of the files below `folder`."""

    def forget() -> None:
        os.sync()
        for path in folder.rglob("*"):
            if path.is_file():
                descriptor = os.open(path, os.O_RDONLY)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(descriptor)

    return forget


if __name__ == "__main__":
    sys.exit(run(main))
