"""Pack a data set into MindRecord shards, for --dataset mindrecord: few large files instead of millions of small ones.

python scripts/write_mindrecord.py DATA DIR
python scripts/write_mindrecord.py labels.csv DIR --image_root PICTURES --per_shard 5000 --side 256
python train.py --dataset mindrecord --train_data_dir DIR

DATA is what --train_data_dir takes (CIFAR-10's training records; with --split eval its test records). Pictures are
packed as they are; with --side N JPEGs with a longer shorter side are made smaller to it. A call that was interrupted
is started again with the same words: finished shards are read, compared and kept.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from src.datasets.check import guess_dataset
from src.datasets.classification import worker_count
from src.datasets.layouts import DATASETS
from src.datasets.pack import pack
from src.datasets.reading import UNCERTAIN, Reading
from src.datasets.sources import SPLITS, open_source
from src.datasets.usable import refuse_undecodable
from src.utils.arguments import Parser
from src.utils.errors import UsageError, run


def main(argv: Sequence[str]) -> None:
    """Pack as the command line `argv` says."""
    parser = Parser("python scripts/write_mindrecord.py DATA DIR [--key value] ...", __doc__)
    parser.add_argument("data", metavar="DATA")
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("--dataset", choices=DATASETS)
    parser.add_argument("--split", choices=SPLITS, default="train")
    parser.add_argument("--image_root", default="")
    parser.add_argument("--uncertain", choices=UNCERTAIN, default="ignore")
    parser.add_argument("--per_shard", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=0)
    parser.add_argument("--num_parallel_workers", type=int, default=0)
    asked = parser.parse_args(argv)
    for name, least in (("per_shard", 1), ("side", 0)):
        if getattr(asked, name) < least:
            raise UsageError(f"--{name}: found {getattr(asked, name)}, expected at least {least}")
    kind = asked.dataset or guess_dataset(asked.data)
    path = "" if kind == "digits" else asked.data
    source = open_source(kind, path, split=asked.split, reading=Reading(asked.image_root, asked.uncertain))
    refuse_undecodable(source)
    workers = worker_count(asked.num_parallel_workers)
    kept = pack(source, asked.folder, per_shard=asked.per_shard, side=asked.side, workers=workers, said=print)
    print(
        f"{asked.folder}: {len(source)} pictures of {len(source.class_names)} classes; {kept} shards were there already"
    )


if __name__ == "__main__":
    sys.exit(run(main))
