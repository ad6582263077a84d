"""Compute the tables of docs/scaling.md: what training costs on 1 to 1024 devices. Not measured: see the constants.

python scripts/scaling_table.py
python scripts/scaling_table.py CHART.png      (draws the share of the devices' speed that is kept)
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from matplotlib.figure import Figure
from mindspore import nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from src.datasets.sampler import steps_per_epoch
from src.network.densenet import DenseNet, architecture
from src.utils.errors import ReportedError, UsageError, run

SIZES = (1, 8, 16, 64, 256, 1024)
PER_SERVER = 8
BACKWARD = 2 / 3  # of a step: the backward pass computes twice what the forward pass does


@dataclass(frozen=True)
class Recipe:
    """A network on its data set.

    device_rate: images/s of one reference device; image_bytes: mean size of a picture as stored; core_rate: images/s
    that one core prepares, measured here; cpu_rate: images/s trained on two cores, from docs/results.md.
    """

    net: str
    classes: int
    images: int
    batch: int
    epochs: int
    lr: float
    device: str
    device_rate: float
    image_bytes: int
    core_rate: float
    cpu_rate: float

    @property
    def step(self) -> float:
        """Seconds of one step without the exchange of gradients."""
        return self.batch / self.device_rate

    @property
    def size(self) -> "Size":
        """What is counted in the real network."""
        return _size(self.net, self.classes)


@dataclass(frozen=True)
class Size:
    """Numbers of trained values, of tensors that hold them, and the channels of each batch normalisation."""

    values: int
    tensors: int
    norms: tuple[int, ...]

    @property
    def gradient_bytes(self) -> int:
        """float32, as they are exchanged."""
        return 4 * self.values

    @property
    def checkpoint_bytes(self) -> int:
        """float32 weights, their momentum, running means and variances; names and metadata come on top."""
        return 4 * (2 * self.values + 2 * sum(self.norms))


@cache
def _size(net: str, classes: int) -> Size:
    network = DenseNet(architecture(net, classes))
    weights = network.trainable_params()
    norms = [cell.num_features for _, cell in network.cells_and_names() if isinstance(cell, nn.BatchNorm2d)]
    return Size(sum(weight.size for weight in weights), len(weights), tuple(norms))


@dataclass(frozen=True)
class Link:
    """bytes/s in one direction; seconds of one message's way; whether the devices of a server have to share one."""

    name: str
    bandwidth: float
    latency: float
    shared: bool
    source: str


CIFAR = Recipe("densenet100", 10, 50_000, 64, 300, 0.1, "V100", 600.07, 3073, 9810, 23.4)
IMAGENET = Recipe("densenet121", 1000, 1_281_167, 32, 120, 0.0125, "Ascend 910", 6301.11 / 8, 115_000, 784, 4.8)
RECIPES = (CIFAR, IMAGENET)
HCCS = Link("HCCS", 30e9, 5e-6, False, "240 Gb/s a port: vendor (Hot Chips 31); one way at that rate: assumed")
ROCE = Link("RoCE 100 Gb/s", 12.5e9, 10e-6, False, "one of a device's two ports (vendor), full rate: assumed")
LINKS = (
    ROCE,
    Link("Ethernet 25 Gb/s", 25e9 / 8, 50e-6, True, "one card for each server, full rate: assumed"),
    Link("Ethernet 10 Gb/s", 10e9 / 8, 50e-6, True, "one card for each server, full rate: assumed"),
)


def ring(n: int, size: int, link: Link) -> float:
    """Seconds of a ring all-reduce of `size` bytes over `n` devices; inside one server on HCCS, else on `link`."""
    link = HCCS if n <= PER_SERVER else link
    return 2 * (n - 1) / n * size / link.bandwidth + 2 * (n - 1) * link.latency


def two_level(n: int, size: int, link: Link) -> float:
    """Seconds of: reduce-scatter in each server, all-reduce of each eighth between servers, all-gather in each server.

    Between m servers by halving and doubling: as many bytes as a ring, 2 log2(m) messages one after the other.
    """
    if n <= PER_SERVER:
        return ring(n, size, link)
    servers = n // PER_SERVER
    bandwidth = link.bandwidth / (PER_SERVER if link.shared else 1)
    between = 2 * (servers - 1) / servers * (size / PER_SERVER) / bandwidth + 2 * math.log2(servers) * link.latency
    return ring(PER_SERVER, size, HCCS) + between


def kept(recipe: Recipe, exchange: float, overlap: bool = False) -> float:
    """The share of n times one device's speed that is left with `exchange` seconds a step."""
    shown = max(0.0, exchange - BACKWARD * recipe.step) if overlap else exchange
    return recipe.step / (recipe.step + shown)


def norm_exchange(n: int, recipe: Recipe) -> float:
    """Seconds that --sync_batch_norm adds to a step: four all-reduces of C floats for each normalisation."""
    return sum(4 * two_level(n, 4 * channels, ROCE) for channels in recipe.size.norms)


def table(name: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Markdown, with a comment that names the table; all columns but the first to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return f"<!-- {name} -->\n" + "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def tables() -> list[str]:
    """All of them, in the order of docs/scaling.md."""
    return [
        _networks(),
        _links(),
        *(_exchange(f"{way.__name__} {recipe.net}", recipe, way) for way in (ring, two_level) for recipe in RECIPES),
        _limits(),
        *(_whole_job(recipe) for recipe in RECIPES),
        _loading(),
        _checkpoints(),
        *(_steps(recipe) for recipe in RECIPES),
        _norms(),
    ]


def _networks() -> str:
    rows = [
        ("trained values", *(f"{r.size.values:,}" for r in RECIPES)),
        ("tensors", *(r.size.tensors for r in RECIPES)),
        ("gradients, float32", *(_megabytes(r.size.gradient_bytes) for r in RECIPES)),
        ("batch normalisations", *(len(r.size.norms) for r in RECIPES)),
        ("their channels", *(f"{sum(r.size.norms):,}" for r in RECIPES)),
        ("images a device and step", *(r.batch for r in RECIPES)),
        ("reference device", *(r.device for r in RECIPES)),
        ("its images/s", *(f"{r.device_rate:.0f}" for r in RECIPES)),
        ("its step", *(_milliseconds(r.step) for r in RECIPES)),
    ]
    return table("networks", ("", *(r.net for r in RECIPES)), rows)


def _links() -> str:
    rows = [
        (link.name, f"{link.bandwidth / 1e9:g} GB/s", f"{link.latency * 1e6:.0f} µs", link.source)
        for link in (HCCS, *LINKS)
    ]
    return table("links", ("link", "bandwidth", "latency (assumed)", "where the bandwidth comes from"), rows)


def _exchange(name: str, recipe: Recipe, way) -> str:
    def cell(n: int, link: Link) -> str:
        seconds = way(n, recipe.size.gradient_bytes, link)
        return f"{_milliseconds(seconds)}, {kept(recipe, seconds):.0%}"

    rows = [(n, *(cell(n, link) for link in LINKS)) for n in SIZES]
    return table(name, (f"devices, {recipe.net}", *(link.name for link in LINKS)), rows)


def _limits() -> str:
    rows = []
    for recipe in RECIPES:
        for link in LINKS:
            cells = [
                _largest(lambda n, r=recipe, k=link, w=way, o=o: kept(r, w(n, r.size.gradient_bytes, k), o))
                for way in (ring, two_level)
                for o in (False, True)
            ]
            latency_wins = recipe.size.gradient_bytes / (
                link.bandwidth * link.latency
            )  # both parts of `ring` are equal
            rows.append((f"{recipe.net}, {link.name}", *cells, f"{latency_wins:.0f}"))
    header = ("", "ring", "ring, overlapped", "two levels", "two levels, overlapped", "ring: latency > bandwidth from")
    return table("limits", header, rows)


def _largest(share) -> str:
    """The largest power of two up to 1024 that keeps 90 %."""
    good = [n for n in (2**i for i in range(11)) if share(n) >= 0.9]
    return f"{max(good)}" if max(good) < SIZES[-1] else f"{SIZES[-1]} or more"


def _whole_job(recipe: Recipe) -> str:
    rows = []
    for n in SIZES:
        steps = _steps_per_epoch(recipe, n)
        if not steps:
            rows.append((n, "-", "-", "-"))
            continue
        rate = n * recipe.device_rate * kept(recipe, two_level(n, recipe.size.gradient_bytes, ROCE))
        minutes = recipe.epochs * steps * n * recipe.batch / rate / 60
        rows.append((n, f"{rate:,.0f}", f"{minutes:,.1f} min", f"{minutes * n / 60:.1f}"))
    header = (f"devices, {recipe.net}", "images/s", f"{recipe.epochs} epochs", "device-hours")
    return table(f"job {recipe.net}", header, rows)


def _loading() -> str:
    rows = []
    for recipe in RECIPES:
        most = max(n for n in SIZES if _steps_per_epoch(recipe, n))
        for where, rate in (
            (f"a host of 8 {recipe.device}", PER_SERVER * recipe.device_rate),
            (f"all hosts of {most} {recipe.device}", most * recipe.device_rate),
            ("this machine's CPU", recipe.cpu_rate),
        ):
            cores, mega = rate / recipe.core_rate, rate * recipe.image_bytes / 1e6
            rows.append((f"{recipe.net}, {where}", f"{rate:,.0f}", f"{mega:,.1f} MB/s", f"{cores:,.2f}"))
    return table("loading", ("", "images/s", "read", "cores for it"), rows)


def _checkpoints() -> str:
    rows = [(r.net, f"{r.size.checkpoint_bytes:,}") for r in RECIPES]
    return table("checkpoints", ("", "bytes of weights, momentum and statistics"), rows)


def _steps(recipe: Recipe) -> str:
    rows = []
    for n in SIZES:
        batch, steps = n * recipe.batch, _steps_per_epoch(recipe, n)
        dropped = recipe.images - steps * batch
        left = f"{dropped:,} ({dropped / recipe.images:.1%})" if steps else "refused: fewer images than one batch"
        rows.append((n, f"{batch:,}", f"{steps:,}", left, f"{n * recipe.lr:g}"))
    header = (f"devices, {recipe.net}", "global batch", "steps an epoch", "left out of an epoch", "scaled lr")
    return table(f"steps {recipe.net}", header, rows)


def _steps_per_epoch(recipe: Recipe, n: int) -> int:
    try:
        return steps_per_epoch(recipe.images, recipe.batch, n)
    except ReportedError:
        return 0


def _norms() -> str:
    rows = []
    for recipe in RECIPES:
        size = 16 * sum(recipe.size.norms)
        cells = [f"{_milliseconds(norm_exchange(n, recipe))}" for n in SIZES if n > 1]
        rows.append((recipe.net, 4 * len(recipe.size.norms), _megabytes(size), _milliseconds(recipe.step), *cells))
    header = ("", "all-reduces", "bytes", "step", *(f"{n} devices" for n in SIZES if n > 1))
    return table("norms", header, rows)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.2f} MB"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def draw(path: Path) -> None:
    """The share of the devices' speed that is kept, without overlap, as a PNG."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    sizes = [2**i for i in range(11)]
    for axes, recipe in zip(figure.subplots(1, 2, sharey=True), RECIPES, strict=True):
        for colour, link in enumerate(LINKS):
            for way, style in ((ring, "-"), (two_level, "--")):
                shares = [100 * kept(recipe, way(n, recipe.size.gradient_bytes, link)) for n in sizes]
                name = f"{link.name}, {way.__name__.replace('_', ' ')}"
                axes.plot(sizes, shares, style, color=f"C{colour}", label=name)
        axes.set(xscale="log", xlabel="devices, 8 a server", title=f"{recipe.net} on {recipe.device}", ylim=(0, 102))
        axes.set_xticks([1, 8, 64, 256, 1024], ["1", "8", "64", "256", "1024"], minor=False)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.set_ylabel("speed kept, %")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=100)


def main(argv: Sequence[str]) -> None:
    """Print the tables; with a path draw the chart too."""
    if len(argv) > 1 or not all(word.endswith(".png") for word in argv):
        raise UsageError("usage: python scripts/scaling_table.py [CHART.png]")
    print("\n\n".join(tables()))
    if argv:
        draw(Path(argv[0]))


if __name__ == "__main__":
    sys.exit(run(main))
