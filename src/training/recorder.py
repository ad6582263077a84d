"""What a run leaves for its reader: metrics.csv, TensorBoard events and curves.png."""

import csv
import io
from pathlib import Path

from src.training.events import Events
from src.training.progress import COLUMNS, EMA_COLUMNS, EMA_PREFIX, is_evaluated
from src.utils.files import write_text_atomically
from src.utils.plotting import write_picture

# An evaluation's scalars for TensorBoard, and their columns.
_EVENTS = {name: name for name in ("top1", "top5", "auroc", "average_precision")} | {"loss": "eval_loss"}
_DRAWN = {"top1": "o-", "top5": "s--", "auroc": "o-", "average_precision": "s--"}  # figures and how
_DRAWN |= {EMA_PREFIX + name: "^" + style[1:] for name, style in _DRAWN.items()}


class Recorder:
    """Writes the run's pictures and tables into `folder`; does nothing on ranks other than the master."""

    def __init__(self, folder: Path, history: list[dict], *, global_step: int, active: bool) -> None:
        self.folder = folder
        self.active = active
        self._drawn: dict | None = None  # the last row in the picture
        if active:
            self._events = Events(folder, global_step)
            self._write_table(history)

    def log_step(self, global_step: int, **scalars: float) -> None:
        """Add training scalars to the events."""
        self._add_scalars("train", global_step, scalars)

    def log_epoch(self, history: list[dict], best_epoch: int = 0) -> None:
        """Bring metrics.csv, the events and the curves up to the last row of `history`.

        best_epoch: of best.ckpt, 0 when there is none.
        """
        if not self.active:
            return
        row = history[-1]
        for group, prefix in (("eval", ""), ("ema", EMA_PREFIX)):
            scalars = {name: row.get(prefix + column, "") for name, column in _EVENTS.items()}
            self._add_scalars(group, row["step"], {name: value for name, value in scalars.items() if value != ""})
        self._write_table(history)
        self._draw(history, best_epoch)

    def close(self, history: list[dict], best_epoch: int = 0) -> None:
        """Draw the curves, unless `log_epoch` has."""
        if self.active and history and history[-1] != self._drawn:
            self._draw(history, best_epoch)

    def _draw(self, history: list[dict], best_epoch: int) -> None:
        write_picture(self.folder / "curves.png", lambda path: draw_curves(history, path, best_epoch))
        self._drawn = dict(history[-1])

    def _add_scalars(self, group: str, step: int, scalars: dict) -> None:
        if self.active:
            self._events.add(step, {f"{group}/{name}": value for name, value in scalars.items()})

    def _write_table(self, history: list[dict]) -> None:
        text = io.StringIO()
        averaged = any(row.get(name, "") != "" for row in history for name in EMA_COLUMNS)
        shown = COLUMNS if averaged else [name for name in COLUMNS if name not in EMA_COLUMNS]
        writer = csv.DictWriter(text, shown, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
        write_text_atomically(self.folder / "metrics.csv", text.getvalue())


def draw_curves(history: list[dict], path: Path, best_epoch: int = 0) -> None:
    """Losses and learning rate on the left, accuracy on the right, over epochs; written to `path` as PNG.

    best_epoch: of best.ckpt, which a line marks; 0: none.
    """
    from matplotlib.figure import Figure  # the object interface: no backend, no global state; 0.3 s to import

    epochs = [row["epoch"] for row in history]
    evaluated = [row for row in history if is_evaluated(row)]
    figure = Figure(figsize=(10, 4))  # and no layout that is computed: it takes as long as drawing, after each epoch
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.08, right=0.98, bottom=0.12, top=0.92, wspace=0.42)
    left.plot(epochs, [row["loss"] for row in history], "o-", markersize=3, color="C0")
    with_loss = [row for row in evaluated if row.get("eval_loss", "") != ""]
    if with_loss:
        held_out = [row["eval_loss"] for row in with_loss]
        left.plot([row["epoch"] for row in with_loss], held_out, "s:", markersize=3, color="C2", label="held-out loss")
        averaged = [row for row in with_loss if row.get("ema_eval_loss", "") != ""]
        if averaged:
            held_out = [row["ema_eval_loss"] for row in averaged]
            left.plot([row["epoch"] for row in averaged], held_out, ":", color="C3", label="held-out loss, EMA")
        left.legend(loc="upper center")
    left.set(xlabel="epoch", title="training loss and learning rate")
    left.set_ylabel("loss", color="C0")
    rate = left.twinx()
    rate.plot(epochs, [row["learning_rate"] for row in history], "--", color="C1")
    rate.set_ylabel("learning rate", color="C1")
    shares = any(row["top1"] != "" for row in evaluated) or not evaluated
    right.set(xlabel="epoch", ylabel="accuracy (%)" if shares else "figure (%)", title="evaluation")
    in_training = [row for row in history if row.get("train_top1", "") != ""]
    if in_training and evaluated:
        values = [100 * row["train_top1"] for row in in_training]
        right.plot([row["epoch"] for row in in_training], values, "--", color="0.6", label="top-1 while training")
    for key, style in _DRAWN.items():
        rows = [row for row in evaluated if row.get(key, "") != ""]
        if rows:
            best = max(100 * row[key] for row in rows)
            name = key.removeprefix(EMA_PREFIX).replace("top", "top-").replace("_", " ")
            label = f"{name}{' of the EMA' if key.startswith(EMA_PREFIX) else ''}, best {best:.2f} %"
            right.plot(
                [row["epoch"] for row in rows], [100 * row[key] for row in rows], style, markersize=3, label=label
            )
    if best_epoch:
        right.axvline(best_epoch, color="0.4", linestyle=":", label=f"best.ckpt, epoch {best_epoch}")
    if evaluated:
        right.legend(loc="lower right")
    else:
        right.text(0.5, 0.5, "no evaluation: give --eval_data_dir", ha="center", transform=right.transAxes)
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.savefig(path, dpi=120)
