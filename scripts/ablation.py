"""Measure what each ingredient of a recipe does: train with it and without, over several seeds, and write a table.

  python scripts/ablation.py OUTPUT --dataset digits --eval_data_dir bundled
  python scripts/ablation.py OUTPUT --only base,mixup --seeds 1,2 --dataset folder --train_data_dir A --eval_data_dir B

Flags that it does not know are train.py's and belong to the recipe of all. A run that has ended is kept in OUTPUT, and
its figures are read from there the next time. The accuracy is that of the last epoch, not of the best one, which would
be chosen on the very images that it is counted on. An ingredient whose every figure is that of base is an error.
"""

import csv
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from src.utils.arguments import Parser
from src.utils.csv_text import csv_text
from src.utils.errors import ReportedError, UsageError, run
from src.utils.files import write_atomically, write_text_atomically

# A small network and few epochs, so that the whole takes half an hour on two cores.
BASE = {
    "net": "densenet100", "block_config": "4,4,4", "image_size": "16", "per_batch_size": "64", "max_epoch": "12",
    "lr_scheduler": "cosine_annealing", "warmup_epochs": "1", "label_smooth": "false", "augmentation": "crop",
}  # fmt: skip
LAST_OF_BASE = "LAST_OF_BASE"  # the last checkpoint of base with the same seed
INGREDIENTS = {
    "base": {},
    "nesterov": {"nesterov": "true"},
    "label_smooth": {"label_smooth": "true"},
    "mixup": {"mixup": "0.2"},
    "cutmix": {"cutmix": "1.0"},
    "trivial": {"auto_augment": "trivial"},
    "rand": {"auto_augment": "rand"},
    "auto": {"auto_augment": "auto"},
    "random_erasing": {"random_erasing": "0.25"},
    "ema": {"ema_decay": "0.99"},
    "polynomial": {"lr_scheduler": "polynomial"},
    "one_cycle": {"lr_scheduler": "one_cycle", "warmup_epochs": "0"},
    "progressive_size": {"progressive_size": "8,12,16"},
    "layer_lr_decay": {"layer_lr_decay": "0.7"},
    "no_norm_decay": {"decay_norm_and_bias": "false"},
    "eval_image_size": {"eval_image_size": "20"},
    "teacher": {"teacher": LAST_OF_BASE},
    "all": {
        "nesterov": "true", "label_smooth": "true", "mixup": "0.2", "cutmix": "1.0", "random_erasing": "0.25",
        "ema_decay": "0.99",
    },
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """What a run ended with: top-1 and loss on held-out images, the training loss, and its seconds.

    curve: of each evaluation the epoch, top-1 and loss; with averaged weights all of them are the average's.
    """

    top1: float
    eval_loss: float
    loss: float
    seconds: float
    curve: tuple[tuple[int, float, float], ...] = ()


def parse(argv: Sequence[str]) -> tuple[Path, list[str], list[str], list[str]]:
    """OUTPUT, the ingredients, the seeds, and train.py's flags. Raises UsageError."""
    parser = Parser(usage="python scripts/ablation.py OUTPUT [--only NAMES] [--seeds SEEDS] [FLAG VALUE]...",
                    description=__doc__)  # fmt: skip
    parser.add_argument("output", type=Path)
    parser.add_argument("--seeds", default="1,2,3", help="numbers with commas between them (default: 1,2,3)")
    parser.add_argument("--only", default=",".join(INGREDIENTS), help="ingredients (default: all)")
    asked, flags = parser.parse_known_args(argv)
    names, seeds = asked.only.split(","), asked.seeds.split(",")
    if unknown := [name for name in names if name not in INGREDIENTS]:
        raise UsageError(f"found the ingredient {unknown[0]!r}, expected some of {', '.join(INGREDIENTS)}")
    if not all(seed.isdecimal() for seed in seeds):
        raise UsageError(f"found the seeds {asked.seeds!r}, expected whole numbers such as 1,2,3")
    return asked.output, names, seeds, flags


def main(argv: Sequence[str]) -> dict[str, list[Run]]:
    """Train what is not there yet, write runs.csv, table.md and curves.png into OUTPUT, and return each ingredient's
    runs. Raises ReportedError when one has done nothing.
    """
    output, names, seeds, flags = parse(argv)
    found: dict[str, list[Run]] = {}
    for seed in seeds:  # a seed of all first: what is compared was measured at about the same time
        for name in names:
            found.setdefault(name, []).append(trained(output, name, seed, flags))
            write_tables(output, found, seeds)
    write_atomically(output / "curves.png", lambda path: draw(found, path))
    print((output / "table.md").read_text("utf-8"))
    if idle := inert(found):
        raise ReportedError(f"{', '.join(idle)}: every figure is base's with the same seed, so it has done nothing")
    return found


def inert(found: Mapping[str, Sequence[Run]]) -> list[str]:
    """The ingredients of which every run ended with all the figures of base."""
    ends = {name: [(one.top1, one.eval_loss, one.loss) for one in runs] for name, runs in found.items()}
    return [name for name, end in ends.items() if name != "base" and end == ends.get("base", [])[: len(end)]]


def trained(output: Path, name: str, seed: str, flags: Sequence[str]) -> Run:
    """The run of one ingredient and seed, made if it is not there. Raises ReportedError when it fails."""
    folder = output / f"{name}_{seed}"
    if not (folder / "seconds.txt").is_file():
        chosen = {**BASE, **INGREDIENTS[name], "seed": seed, "save_ckpt_path": str(folder), "keep_checkpoint_max": "1"}
        if LAST_OF_BASE in chosen.values():
            trained(output, "base", seed, flags)
            last = max((output / f"base_{seed}").glob("*/0-*.ckpt"), key=os.path.getmtime)
            chosen = {key: str(last) if value == LAST_OF_BASE else value for key, value in chosen.items()}
        command = [sys.executable, str(ROOT / "train.py"), *(f"--{key}={value}" for key, value in chosen.items())]
        start = time.perf_counter()
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "output.txt").open("w", encoding="utf-8") as said:
            done = subprocess.run([*command, *flags], stdout=said, stderr=subprocess.STDOUT, check=False)  # noqa: S603
        if done.returncode:
            raise ReportedError(
                f"{name} with seed {seed} ended with exit status {done.returncode}; see {folder / 'output.txt'}"
            )
        write_text_atomically(folder / "seconds.txt", f"{time.perf_counter() - start:.1f}\n")
    metrics = max(folder.glob("*/metrics.csv"), key=os.path.getmtime)
    rows = list(csv.DictReader(metrics.read_text("utf-8").splitlines()))
    prefix = "ema_" if rows[-1].get("ema_top1") else ""
    seconds = float((folder / "seconds.txt").read_text("utf-8"))
    curve = tuple(
        (int(row["epoch"]), float(row[f"{prefix}top1"]), float(row[f"{prefix}eval_loss"]))
        for row in rows
        if row[f"{prefix}top1"]
    )
    return Run(*curve[-1][1:], float(rows[-1]["loss"]), seconds, curve)


def write_tables(output: Path, found: Mapping[str, Sequence[Run]], seeds: Sequence[str]) -> None:
    """runs.csv: a row a run. table.md: a row an ingredient, mean and standard deviation over the seeds in per cent."""
    rows = [
        [name, seed, one.top1, one.eval_loss, one.loss, one.seconds]
        for name, runs in found.items()
        for seed, one in zip(seeds, runs, strict=False)
    ]
    write_text_atomically(
        output / "runs.csv", csv_text([["ingredient", "seed", "top1", "eval_loss", "train_loss", "seconds"], *rows])
    )
    base = found.get("base", [])
    lines = ["| Ingredient | Flags | Top-1 | Beside base | Held-out loss | Seconds |", "|---|---|---|---|---|---|"]
    for name, runs in found.items():
        flags = " ".join(f"`--{key} {value}`" for key, value in INGREDIENTS[name].items()) or "-"
        pairs = [100 * (one.top1 - other.top1) for one, other in zip(runs, base, strict=False)]
        beside = f"{statistics.mean(pairs):+.2f}" if pairs and name != "base" else "-"
        top1, loss = _spread([100 * one.top1 for one in runs], 2), _spread([one.eval_loss for one in runs], 4)
        seconds = statistics.median(one.seconds for one in runs)
        lines.append(f"| {name} | {flags} | {top1} | {beside} | {loss} | {seconds:.0f} |")
    write_text_atomically(output / "table.md", "\n".join(lines) + "\n")


def draw(found: Mapping[str, Sequence[Run]], path: Path) -> None:
    """Loss and top-1 on held-out images over the epochs, as the PNG `path`: the means over the seeds, and a band of
    one standard deviation on either side.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    both = figure.subplots(1, 2)
    for number, (name, runs) in enumerate(found.items()):
        look = {"color": f"C{number % 10}", "linestyle": ("-", "--")[number // 10 % 2]}
        epochs = [epoch for epoch, *_ in min((one.curve for one in runs), key=len)]
        for axes, column, scale in zip(both, (2, 1), (1, 100), strict=True):
            points = [[scale * one.curve[i][column] for one in runs] for i in range(len(epochs))]
            means = [statistics.mean(values) for values in points]
            axes.plot(epochs, means, label=name, **look)
            if len(runs) > 1:
                spread = [statistics.stdev(values) for values in points]
                low, high = ([m + sign * s for m, s in zip(means, spread, strict=True)] for sign in (-1, 1))
                axes.fill_between(epochs, low, high, color=look["color"], alpha=0.12, linewidth=0)
    for axes, text in zip(both, ("held-out loss", "held-out top-1 (%)"), strict=True):
        axes.set(xlabel="epoch", ylabel=text)
        axes.grid(alpha=0.3)
    both[0].set_yscale("log", nonpositive="clip")  # early losses are many times the last ones
    figure.legend(*both[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=9)
    FigureCanvasAgg(figure).print_png(path)


def _spread(values: Sequence[float], digits: int) -> str:
    """Mean and sample standard deviation."""
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{deviation}"


if __name__ == "__main__":
    sys.exit(run(lambda argv: main(argv) and None))
