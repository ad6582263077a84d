"""Look a data set over before training: counts, bad and odd pictures, copies, leaks, imbalance.

python -m src.datasets.check DATA [HELD_OUT] [--dataset KIND] [--image_root DIR] [--csv FILE] [--html FILE]

DATA and HELD_OUT are what --train_data_dir and --eval_data_dir of train.py take: class folders, a list or CSV file,
packed shards, or CIFAR's folder; `bundled` are the digits. A table is printed; --csv writes a row for each picture that
something was found about, --html a page with small copies of them. The exit status is 1 when something would spoil
training.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from src.datasets.check_report import as_csv, as_html, as_text
from src.datasets.cifar10 import CIFAR10
from src.datasets.cifar100 import CIFAR100
from src.datasets.classification import worker_count
from src.datasets.findings import Both, findings, joined
from src.datasets.layouts import DATASETS
from src.datasets.look import look_at
from src.datasets.mindrecord import is_packed
from src.datasets.reading import Reading, as_task
from src.datasets.sources import SPLITS, open_source
from src.utils.arguments import Parser
from src.utils.errors import ReportedError, run
from src.utils.files import is_file, require_new, write_new_text

BUNDLED = "bundled"


def main(argv: Sequence[str]) -> None:
    """Look as the command line `argv` says. Raises ReportedError when something would spoil training."""
    parser = Parser("python -m src.datasets.check DATA [HELD_OUT] [--key value] ...", __doc__)
    parser.add_argument("data", metavar="DATA")
    parser.add_argument("held_out", metavar="HELD_OUT", nargs="?")
    parser.add_argument("--dataset", choices=DATASETS)
    parser.add_argument("--image_root", default="")
    parser.add_argument("--num_parallel_workers", type=int, default=0)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--html", type=Path)
    asked = parser.parse_args(argv)
    for path in (asked.csv, asked.html):
        if path:
            require_new(path)
    workers = worker_count(asked.num_parallel_workers)
    reading, sources = Reading(asked.image_root), []
    for path, split in zip((asked.data, asked.held_out), SPLITS, strict=True):
        if path is not None:
            kind = asked.dataset or guess_dataset(path)
            source = open_source(kind, "" if kind == "digits" else path, split=split, reading=reading)
            sources.append(as_task(source, sources[0].task) if sources else source)
    both = Both(sources, joined([look_at(source, workers) for source in sources]))
    found = findings(both)
    print(as_text(both, found))
    for path, make in ((asked.csv, as_csv), (asked.html, as_html)):
        if path:
            write_new_text(path, make(both, found))
            print(f"written: {path}")
    wrong = [one.kind for one in found if one.spoils]
    if wrong:
        raise ReportedError(f"training would be spoilt by what was found ({', '.join(wrong)}); see the lines above")


def guess_dataset(path: str) -> str:
    """The kind of data at `path`, by its name and what lies there."""
    if path == BUNDLED:
        return "digits"
    if is_file(Path(path)):
        return "csv" if path.lower().endswith(".csv") else "list"
    if is_packed(Path(path)):
        return "mindrecord"
    for form in (CIFAR10, CIFAR100):
        folders = (Path(path), Path(path, form.folder))
        if any(any(folder.glob(pattern)) for folder in folders for pattern in form.patterns.values()):
            return form.dataset
    return "folder"


if __name__ == "__main__":
    sys.exit(run(main))
