"""Runs side by side: what they reached, how long it took and what they did differently; or two evaluations' answers.

python -m src.training.compare RUN RUN... [--output FILE]
python -m src.training.compare ANSWERS.csv OTHER.csv [--output FILE]

RUN is a run folder of train.py, or one of its checkpoints. --output writes the curves as a .png, or the tables and the
curves as one .html page. ANSWERS.csv is what eval.py --predictions has written; of two such files for the same pictures
the accuracies are compared by McNemar's test, and --output, a .csv, lists the pictures on which they differ.
"""

import csv
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from src.training.best import best_of
from src.training.paired import compare_answers
from src.training.progress import COLUMNS, Progress, is_evaluated
from src.utils.arguments import Parser
from src.utils.checkpoint import EMA, RUN_CONFIG, load_checkpoint
from src.utils.checkpoint_names import list_checkpoints
from src.utils.data_url import encoded_url
from src.utils.errors import ReportedError, UsageError, run
from src.utils.files import is_file, is_folder, require_new, write_new, write_new_text
from src.utils.outside import read_outside
from src.utils.pages import render
from src.utils.plotting import words
from src.utils.shown import shown

ANSWERS, PICTURE, PAGE = ".csv", ".png", ".html"
FIGURES = ("top1", "auroc")  # the one that a run's best checkpoint is chosen by, unless best_metric says otherwise
TABLE = "metrics.csv"
_MOST_BYTES = 2**26
_NOT_OF_THE_RECIPE = ("resume", "save_ckpt_path", "debug", "config_path")


@dataclass(frozen=True)
class Run:
    """One run. rows: those of metrics.csv that its newest checkpoint has. seconds: of training, nan if not known.
    held_out: which pictures it was evaluated on, as its checkpoint has them, empty if that is not known.
    """

    name: str
    config: Mapping[str, object]
    rows: list[dict]
    seconds: float
    held_out: str = ""

    @property
    def figure(self) -> str:
        """What its evaluations are about: top1 or auroc."""
        return next((name for name in FIGURES if any(row[name] != "" for row in self.rows)), FIGURES[0])

    def evaluated(self) -> list[dict]:
        """The rows of epochs with an evaluation."""
        return [row for row in self.rows if is_evaluated(row) and row[self.figure] != ""]


def main(argv: Sequence[str]) -> None:
    """Compare what the command line `argv` names, and print the table."""
    parser = Parser("python -m src.training.compare RUN RUN... [--output FILE]", __doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args(argv)
    of_answers = [path.suffix.lower() == ANSWERS for path in asked.runs]
    if len(asked.runs) < 2 or (any(of_answers) and (len(asked.runs) > 2 or not all(of_answers))):
        raise UsageError(
            "expected two runs or more, or two .csv files of eval.py --predictions; --help shows the usage"
        )
    endings = (ANSWERS,) if any(of_answers) else (PICTURE, PAGE)
    if asked.output:
        if asked.output.suffix.lower() not in endings:
            raise UsageError(f"found output {asked.output}, expected a file name that ends with {' or '.join(endings)}")
        require_new(asked.output)
    if any(of_answers):
        lines, table = compare_answers(*asked.runs)
        print("\n".join(lines))
        if asked.output:
            write_new_text(asked.output, table)
        return
    runs = [read_run(path) for path in asked.runs]
    tables = [results(runs), differences(runs)]
    print("\n\n".join(as_text(table) for table in tables if len(table) > 1))
    if differ_in_held_out(runs):
        print("\nthe runs were evaluated on different held-out pictures: their figures do not say which is better")
    if asked.output and asked.output.suffix.lower() == PICTURE:
        write_new(asked.output, lambda path: draw(runs, path))
    elif asked.output:
        write_new(asked.output, lambda path: write_page(runs, tables, path))


def read_run(path: Path) -> Run:
    """The run in the folder `path`, or that of the checkpoint `path`. Raises ReportedError when there is none."""
    file = path
    if is_folder(path):
        found = list_checkpoints(path)
        if not found:
            raise ReportedError(f"{path} holds no checkpoint of train.py; give a run folder")
        file = found[0]
    checkpoint = load_checkpoint(file)
    rows = Progress.from_dict(checkpoint.require("progress")).history
    if is_folder(path) and is_file(path / TABLE):
        rows = _read_table(path / TABLE)  # which has the evaluation of the last epoch, made after it was saved
    config = checkpoint.require(RUN_CONFIG)
    if not isinstance(config, Mapping):
        raise ReportedError(f"{file} carries no recipe that can be read; use a checkpoint of train.py")
    data = checkpoint.metadata.get("data")
    images = (
        data["train"].get("images") if isinstance(data, Mapping) and isinstance(data.get("train"), Mapping) else None
    )
    speeds = [row["images_per_second"] for row in rows]
    known = type(images) is int and all(type(speed) in (int, float) and speed > 0 for speed in speeds)
    name = path.name if is_folder(path) else f"{path.parent.name}/{path.name}"
    held_out = data.get("eval") if isinstance(data, Mapping) else None
    evaluated_on = f"{held_out.get('images')}, {held_out.get('sha256')!s:.8}" if isinstance(held_out, Mapping) else ""
    return Run(shown(name), config, rows, sum(images / s for s in speeds) if known else float("nan"), evaluated_on)


def _read_table(path: Path) -> list[dict]:
    """The rows of metrics.csv as `Progress.history` has them."""
    try:
        table = csv.DictReader(read_outside(path, _MOST_BYTES).decode().splitlines(), strict=True)
        rows = [{name: float(row[name]) if row.get(name) else "" for name in COLUMNS} for row in table]
        return [row | {"epoch": int(row["epoch"])} for row in rows]
    except OSError as error:
        raise ReportedError(f"{path} cannot be read: {error.strerror}; check its permissions") from error
    except (ValueError, TypeError, csv.Error) as error:
        raise ReportedError(f"{path} is not what train.py writes: {error}; name a checkpoint of the run") from error


def results(runs: Sequence[Run]) -> list[list[str]]:
    """A row a run: epochs, the best and the last evaluation, losses, time in training."""
    table = [["run", "epochs", "best", "in epoch", "last", "loss", "held-out loss", "training time"]]
    for one in runs:
        rows, last = one.evaluated(), one.rows[-1] if one.rows else {}
        scores = [(*best_of(one.figure, row), row["epoch"]) for row in rows]
        best = max(scores, key=lambda score: score[0], default=None)
        table.append([
            one.name, str(last.get("epoch", 0)),
            f"{one.figure} {_percent(best[0])}{' (EMA)' if best[1] == EMA else ''}" if best else "-",
            str(best[2]) if best else "-",
            _percent(rows[-1][one.figure]) if rows else "-",
            _number(last.get("loss", "")), _number(rows[-1]["eval_loss"] if rows else ""), _time(one.seconds),
        ])  # fmt: skip
    return table


def differ_in_held_out(runs: Sequence[Run]) -> bool:
    """Whether runs are known to have been evaluated on different pictures."""
    return len({one.held_out for one in runs if one.held_out}) > 1


def differences(runs: Sequence[Run]) -> list[list[str]]:
    """A row for each key of the configuration that is not the same in all runs."""
    keys = dict.fromkeys(key for one in runs for key in one.config if key not in _NOT_OF_THE_RECIPE)
    table = [["key", *(one.name for one in runs)]]
    for key in keys:
        values = [one.config.get(key, "-") for one in runs]
        if any(value != values[0] for value in values):
            table.append([shown(str(key)), *(shown(_value(value)) for value in values)])
    if differ_in_held_out(runs):
        table.append(["held-out pictures", *(shown(one.held_out or "-") for one in runs)])
    return table


def as_text(table: Sequence[Sequence[str]]) -> str:
    """Columns under each other, for a terminal."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    return "\n".join(lines)


def draw(runs: Sequence[Run], path: Path) -> None:
    """The training loss and the evaluations of all runs over their epochs, as the PNG `path`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with words([one.name for one in runs]) as names:
        figure = Figure(figsize=(11, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        for number, (one, name) in enumerate(zip(runs, names, strict=True)):
            left.plot([row["epoch"] for row in one.rows], [row["loss"] for row in one.rows], f"C{number}", label=name)
            rows = one.evaluated()
            scores = [100 * row[one.figure] for row in rows]
            right.plot([row["epoch"] for row in rows], scores, f"C{number}", marker="o", markersize=3, label=name)
        left.set(xlabel="epoch", ylabel="training loss")
        right.set(xlabel="epoch", ylabel=f"{' or '.join(dict.fromkeys(one.figure for one in runs))} (%)")
        for axes in (left, right):
            axes.grid(alpha=0.3)
            axes.xaxis.get_major_locator().set_params(integer=True)
        figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9)
        FigureCanvasAgg(figure).print_png(path)


def write_page(runs: Sequence[Run], tables: Sequence[list[list[str]]], path: Path) -> None:
    """The tables and the curves as one HTML page without links to anything."""
    picture = path.with_name(path.name + PICTURE)
    try:
        draw(runs, picture)
        curves = encoded_url(picture.read_bytes(), "PNG")
    finally:
        picture.unlink(missing_ok=True)
    says = f"Training loss and evaluations of {', '.join(one.name for one in runs)} over their epochs"
    filled = [table for table in tables if len(table) > 1]
    path.write_text(render(Path(__file__).with_name("compare.html"), tables=filled, says=says, curves=curves), "utf-8")


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %"


def _number(value: object) -> str:
    return "-" if value == "" else f"{value:.4f}"


def _time(seconds: float) -> str:
    if seconds != seconds:
        return "-"
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}"


def _value(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


if __name__ == "__main__":
    sys.exit(run(main))
