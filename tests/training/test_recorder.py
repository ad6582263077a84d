"""metrics.csv, the curves and the events, as their readers find them."""

import struct
import subprocess
import sys

import pytest
from commands import ROOT
from PIL import Image

from src.training.events import Event, SessionLog
from src.training.recorder import Recorder, draw_curves

pytestmark = pytest.mark.usefixtures("drawn")

FIRST = {
    "epoch": 1, "step": 11, "loss": 2.5, "learning_rate": 0.1, "images_per_second": 100.0, "data_wait_percent": 1.5,
    "skipped_steps": 0, "top1": 0.5, "top5": "", "eval_loss": 0.75,
    "balanced_accuracy": 0.25, "macro_f1": 0.125, "auroc": "", "average_precision": "", "train_top1": 0.375,
}  # fmt: skip
SECOND = {
    **FIRST,
    "epoch": 2,
    "step": 22,
    "loss": 1.25,
    "top1": "",
    "eval_loss": "",
    "balanced_accuracy": "",
    "macro_f1": "",
}


def events(place) -> list[Event]:
    """All events of the file, or of the folder's one file: TFRecords of length, CRC, bytes, CRC."""
    (file,) = [place] if place.is_file() else place.glob("events.out.tfevents.*")
    data, found = file.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        found.append(Event.FromString(data[12 : 12 + length]))
        data = data[16 + length :]
    return found


def test_metrics_are_the_history_also_after_a_resume(tmp_path):
    """The table is that of the checkpoint: rows that a killed run wrote beyond it disappear."""
    Recorder(tmp_path, [FIRST, SECOND], global_step=22, active=True)
    Recorder(tmp_path, [FIRST], global_step=11, active=True)
    assert (tmp_path / "metrics.csv").read_text() == (
        "epoch,step,loss,learning_rate,images_per_second,data_wait_percent,skipped_steps,top1,top5,eval_loss,"
        "balanced_accuracy,macro_f1,auroc,average_precision,train_top1\n1,11,2.5,0.1,100.0,1.5,0,0.5,,0.75,0.25,0.125,,,0.375\n"
    )


def test_the_average_of_the_weights_has_columns_events_and_curves_of_its_own(tmp_path):
    recorder = Recorder(tmp_path, [], global_step=0, active=True)
    recorder.log_epoch([FIRST])
    plain = (tmp_path / "curves.png").read_bytes()
    recorder.log_epoch([FIRST | {"ema_top1": 0.625, "ema_eval_loss": 0.5}])
    assert (tmp_path / "curves.png").read_bytes() != plain
    header, row = (line.split(",") for line in (tmp_path / "metrics.csv").read_text().splitlines())
    assert dict(zip(header, row, strict=True))["ema_top1"] == "0.625"
    assert header[-8:-1] == [f"ema_{name}" for name in header[7:14]]
    scalars = [(v.tag, e.step, v.simple_value) for e in events(tmp_path) for v in e.summary.value]
    assert scalars[-2:] == [("ema/top1", 11, 0.625), ("ema/loss", 11, 0.5)]


def test_log_epoch_writes_the_new_row_and_its_events(tmp_path):
    recorder = Recorder(tmp_path, [], global_step=0, active=True)
    recorder.log_step(4, loss=2.0, learning_rate=0.5)
    recorder.log_epoch([FIRST])
    recorder.log_epoch([FIRST, SECOND])
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 3
    scalars = [(v.tag, e.step, v.simple_value) for e in events(tmp_path) for v in e.summary.value]
    assert scalars == [
        ("train/loss", 4, 2.0),
        ("train/learning_rate", 4, 0.5),
        ("eval/top1", 11, 0.5),
        ("eval/loss", 11, 0.75),
    ]


@pytest.mark.parametrize("now", [1.5e9, 1.6e9, 1.7e9])
def test_a_clock_set_back_replaces_no_events_and_keeps_their_order(now, tmp_path, monkeypatch):
    """TensorBoard reads the files in the order of their names."""
    for step, clock in enumerate((1.6e9, now, now)):
        monkeypatch.setattr("src.training.events.time.time", lambda clock=clock: clock)
        Recorder(tmp_path, [], global_step=step, active=True).log_step(step, loss=1.0)
    files = sorted(tmp_path.glob("events.out.tfevents.*"))
    assert [[e.step for e in events(f) if e.session_log.status == SessionLog.START] for f in files] == [[1], [2], [3]]


def test_events_beyond_the_resumed_step_are_declared_void_and_its_own_are_not(tmp_path):
    recorder = Recorder(tmp_path, [FIRST], global_step=11, active=True)
    recorder.log_step(12, loss=1.0)
    starts = [e.step for e in events(tmp_path) if e.session_log.status == SessionLog.START]
    assert starts == [12]


def test_curves_are_drawn_after_each_epoch_and_once_for_the_last(tmp_path):
    recorder, seen = Recorder(tmp_path, [], global_step=0, active=True), []
    for history in ([FIRST], [FIRST, SECOND]):
        recorder.log_epoch(history)
        seen.append((tmp_path / "curves.png").read_bytes())
    assert seen[0] != seen[1]
    (tmp_path / "curves.png").unlink()
    recorder.close([FIRST, SECOND])
    assert not (tmp_path / "curves.png").exists()


def test_the_held_out_loss_is_in_the_curves(tmp_path):
    draw_curves([FIRST], tmp_path / "with.png")
    draw_curves([{**FIRST, "eval_loss": ""}], tmp_path / "without.png")
    with Image.open(tmp_path / "with.png") as one, Image.open(tmp_path / "without.png") as other:
        assert one.tobytes() != other.tobytes()


def test_the_epoch_of_the_best_checkpoint_is_marked(tmp_path):
    pictures = set()
    for epoch in (0, 1, 2):
        recorder = Recorder(tmp_path, [FIRST, SECOND], global_step=0, active=True)
        recorder.close([FIRST, SECOND], epoch)
        with Image.open(tmp_path / "curves.png") as picture:
            pictures.add(picture.tobytes())
    assert len(pictures) == 3


def test_curves_are_drawn_at_the_end(tmp_path):
    for history in ([FIRST, SECOND], [SECOND]):
        Recorder(tmp_path, history, global_step=0, active=True).close(history)
        with Image.open(tmp_path / "curves.png") as picture:
            assert picture.size == (1200, 480)
            assert len(set(picture.convert("L").tobytes())) > 10
        (tmp_path / "curves.png").unlink()


def test_without_an_epoch_there_are_no_curves(tmp_path):
    Recorder(tmp_path, [], global_step=0, active=True).close([])
    assert not (tmp_path / "curves.png").exists()


def test_other_ranks_write_nothing(tmp_path):
    recorder = Recorder(tmp_path, [], global_step=0, active=False)
    recorder.log_step(1, loss=1.0)
    recorder.log_epoch([FIRST])
    recorder.close([FIRST])
    assert list(tmp_path.iterdir()) == []


def test_event_files_do_not_need_pytorch():
    """Which takes five seconds to import, and is not hidden from those who import it afterwards."""
    program = "import sys, src.training.events; print([name for name in ('torch', 'mindspore') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
