"""What was measured, as CSV, as Markdown and as a chart."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from matplotlib.figure import Figure

from scripts.benchmarks.machine import Machine
from scripts.benchmarks.process import Measurement
from scripts.benchmarks.tasks import DESCRIPTIONS, PIPELINE, RECIPE_BASE, REFERENCE, TRAINING, Task
from src.utils.files import write_atomically, write_text_atomically

CSV_NAME, MARKDOWN_NAME, CHART_NAME = "benchmark.csv", "benchmark.md", "benchmark.png"
_COLUMNS = (
    *("task", "variant", "images_per_second", "min", "max", "ratio", "peak_share", "peak_memory_mb"),
    *("gflop_per_image", "rounds", "parts"),
)
_OURS, _OTHERS = (
    "#1f5fa8",
    {"mindspore": "#a8a29a", "torch": "#c3c9d1", "onnxruntime": "#c9d3c0", "openvino": "#d3c9c0"},
)


@dataclass(frozen=True)
class Row:
    """One variant at one task. rate: images/s, the median; ratio: to PyTorch's eager float32, the median of the rounds'
    ratios; peak_share: of the machine's measured peak; None where there is nothing to compare with.
    """

    measurement: Measurement
    ratio: float | None
    peak_share: float | None

    @property
    def name(self) -> str:
        """The variant's."""
        return self.measurement.variant.name

    @property
    def rate(self) -> float:
        """See the class."""
        return median(self.measurement.rates)

    @property
    def parts(self) -> dict[str, float]:
        """The shares of the time that its parts take, the medians of the rounds; empty if they are not known."""
        rounds = self.measurement.parts
        found = {part: median(shares[part] for shares in rounds) for part in rounds[0]} if rounds else {}
        return found if any(found.values()) else {}


@dataclass(frozen=True)
class Result:
    """All variants at one task, and by name why others are missing."""

    task: Task
    rows: list[Row]
    missing: dict[str, str] = field(default_factory=dict)


def result_of(task: Task, measurements: Sequence[Measurement], missing: dict[str, str], machine: Machine) -> Result:
    """Compare what was measured in the same rounds with each other and with the machine."""
    reference = next((m.rates for m in measurements if m.variant.name == _reference(task)), None)
    rows = []
    for measurement in measurements:
        ratio = share = None
        if reference:
            ratio = median(rate / base for rate, base in zip(measurement.rates, reference, strict=True))
        if peak := machine.peak(measurement.variant.precision):
            share = median(measurement.rates) * task.flops_per_image / (1e9 * peak) or None
        rows.append(Row(measurement, ratio, share))
    return Result(task, rows, missing)


def _reference(task: Task) -> str:
    if task.about == "recipe":
        return RECIPE_BASE
    return "torch-dataloader" if task.kind == PIPELINE else REFERENCE


def write_report(folder: Path, results: Sequence[Result], machine: Machine, command: str) -> str:
    """Write the three files into `folder`, over earlier ones with fewer results; return the Markdown."""
    text = _markdown(results, machine, command)
    write_text_atomically(folder / CSV_NAME, _csv(results))
    write_text_atomically(folder / MARKDOWN_NAME, text)
    figure = _chart(results)
    write_atomically(folder / CHART_NAME, lambda path: figure.savefig(path, dpi=110))
    return text


def _csv(results: Sequence[Result]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for result in results:
        for row in result.rows:
            rates = row.measurement.rates
            numbers = (row.rate, min(rates), max(rates), row.ratio, row.peak_share, row.measurement.peak_mb)
            shown = ["" if number is None else f"{number:.6g}" for number in numbers]
            gflop = f"{result.task.flops_per_image / 1e9:.6g}"
            parts = ", ".join(f"{part} {share:.4f}" for part, share in row.parts.items())
            rounds = " ".join(f"{rate:.6g}" for rate in rates)
            writer.writerow([result.task.name, row.name, *shown, gflop, rounds, parts])
    return text.getvalue()


def _markdown(results: Sequence[Result], machine: Machine, command: str) -> str:
    lines = [f"`{command}`", "", *(f"- {line}" for line in machine.lines())]
    lines += [
        "- Variants take turns, one after the other in each round. images/s and memory: of a whole process, which has "
        "a task to itself. x: times the reference, the median of the rounds' ratios. of peak: with the operations of "
        "convolutions as they are defined, whatever a variant saves of them.",
    ]
    for result in results:
        task = result.task
        size = f"batch {task.batch}, {task.image_size}x{task.image_size}"
        if task.kind != PIPELINE:
            size += f", {task.classes} classes, {task.flops_per_image / 1e9:.3g} GFLOP an image"
        header = ("variant", "", "images/s", "min..max", f"x {_reference(task)}", "of peak", "peak MB")
        cells = [header, ("---", "---", *["---:"] * 5), *map(_cells, result.rows)]
        lines += ["", f"### {task.name}", "", size, "", *("| " + " | ".join(line) + " |" for line in cells)]
        lines += _parts(result) + _scaling(result) + _contention(result)
        if result.missing:
            lines += ["", *(f"- {name} is left out: {reason}" for name, reason in result.missing.items())]
    return "\n".join(lines) + "\n"


def _parts(result: Result) -> list[str]:
    """A table of what the parts of a step take, of the variants that know."""
    rows = [row for row in result.rows if row.parts]
    if result.task.kind != TRAINING or not rows:
        return []
    cells = [("share of a step", *rows[0].parts, "all else"), ("---", *["---:"] * (len(rows[0].parts) + 1))]
    for row in rows:
        shares = (*row.parts.values(), 1 - sum(row.parts.values()))
        cells.append((row.name, *(f"{share:.1%}" for share in shares)))
    return ["", *("| " + " | ".join(line) + " |" for line in cells)]


def _scaling(result: Result) -> list[str]:
    """What all cores are worth, of the variants that one core has done, too."""
    rates = {row.name: row.measurement.rates for row in result.rows}
    lines = []
    for name, all_cores in rates.items():
        if one_core := rates.get(name.replace("ours-", "one-core-")) if name.startswith("ours-") else None:
            ratio = median(rate / base for rate, base in zip(all_cores, one_core, strict=True))
            lines.append(f"- {name} is {ratio:.2f} times as fast on all cores as on one.")
    return ["", *lines] if lines else []


def _contention(result: Result) -> list[str]:
    """What is left of a variant's speed beside busy processes: the median of the rounds' ratios."""
    rates = {row.name: row.measurement.rates for row in result.rows}
    lines = []
    for row in result.rows:
        if (busy := row.measurement.variant.busy) and (alone := rates.get(row.name.removesuffix(f"-busy-{busy}"))):
            kept = median(rate / base for rate, base in zip(row.measurement.rates, alone, strict=True))
            share = f"a fair share is {1 / (1 + busy):.2f}"
            lines.append(f"- {row.name} keeps {kept:.2f} of the speed that it has alone; {share}.")
    return ["", *lines] if lines else []


def _cells(row: Row) -> tuple[str, ...]:
    rates = row.measurement.rates
    return (
        f"**{row.name}**" if row.measurement.variant.is_ours else row.name,
        DESCRIPTIONS[row.name],
        number(row.rate),
        f"{number(min(rates))}..{number(max(rates))}",
        "-" if row.ratio is None else f"{row.ratio:.2f}",
        "-" if row.peak_share is None else f"{row.peak_share:.1%}",
        f"{row.measurement.peak_mb:.0f}",
    )


def number(value: float) -> str:
    """With three digits at least: 0.123, 12.3, 1,234."""
    digits = max(0, 2 - math.floor(math.log10(value))) if value >= 1 else 3
    return f"{value:,.{digits}f}"


def _chart(results: Sequence[Result]) -> Figure:
    """A panel of horizontal bars for each task, two panels a line."""
    shown = [result for result in results if result.rows]
    panels = [shown[i : i + 2] for i in range(0, len(shown), 2)]
    bars = [max(len(result.rows) for result in line) for line in panels] or [1]
    figure = Figure(figsize=(13, 1.0 * len(bars) + 0.28 * sum(bars)), layout="constrained")
    grid = figure.subplots(len(bars), 2, squeeze=False, gridspec_kw={"height_ratios": [n + 2 for n in bars]})
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, result in zip(grid.flat, shown, strict=False):
        _draw(axes, result)
    return figure


def _draw(axes, result: Result) -> None:
    names = [row.name for row in result.rows]
    rates = [row.rate for row in result.rows]
    spread = [
        [row.rate - min(row.measurement.rates) for row in result.rows],
        [max(row.measurement.rates) - row.rate for row in result.rows],
    ]
    colours = [_OURS if row.measurement.variant.is_ours else _OTHERS[row.name.split("-")[0]] for row in result.rows]
    axes.set_axis_on()
    axes.barh(names, rates, color=colours, xerr=spread, error_kw={"elinewidth": 1, "ecolor": "#555555"})
    for place, row in enumerate(result.rows):
        ratio = "" if row.ratio is None else f"  ({row.ratio:.2f}x)"
        axes.annotate(
            number(row.rate) + ratio,
            (max(row.measurement.rates), place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            fontweight="bold" if row.measurement.variant.is_ours else "normal",
        )
    axes.invert_yaxis()
    axes.set_xlim(0, 1.3 * max(max(row.measurement.rates) for row in result.rows))
    axes.set_title(
        f"{result.task.name}, batch {result.task.batch}: images/s (x {_reference(result.task)})", fontsize=10
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
