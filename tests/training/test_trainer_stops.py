"""How the loop ends when something is wrong or somebody asks: no position is lost, and what is saved is good."""

import _thread
import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest
from mindspore import Tensor
from toy import make_step, values
from trainers import BATCH, STEPS, batches, make_trainer, names, rate, rows

from src.training import trainer as trainer_module
from src.training.progress import Progress
from src.training.recorder import Recorder
from src.training.step import LossScaling
from src.training.trainer import UNREADABLE, UnreadableDataError
from src.utils.accuracy import Accuracy
from src.utils.checkpoint import list_checkpoints, load_checkpoint, load_training_state
from src.utils.errors import ReportedError, StopError


@pytest.mark.slow
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_stops_and_the_last_good_checkpoint_stays_the_newest(bad, tmp_path):
    def data(epoch, first_image, first_batch):
        for i, (images, labels, indices) in enumerate(batches(epoch, first_image, first_batch), first_batch):
            yield images * np.float32(bad if (epoch, i) == (1, 3) else 1), labels, indices

    with pytest.raises(ReportedError) as raised:
        make_trainer(tmp_path, data=data, ckpt_interval=2).run()
    good = tmp_path / "0-2_3.ckpt"
    assert str(raised.value) == (
        f"the loss is nan at epoch 2, step 4 (iter 8), learning rate {rate(8):g}; the last good checkpoint is {good}; "
        "lower --lr, lengthen --warmup_epochs or set --grad_clip_norm"
    )
    assert list_checkpoints(tmp_path)[0] == good
    assert all(np.isfinite(value).all() for value in load_checkpoint(good).arrays.values())


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    """The loss of the step that broke them was still finite."""

    def huge(step):
        return float("inf") if step == STEPS + 1 else rate(step)

    with pytest.raises(ReportedError, match=r"(fc\.\w+|moments\S+) is not finite.*the last good one is .*0-2_1\.ckpt"):
        make_trainer(tmp_path, schedule=huge, ckpt_interval=1).run()
    assert list_checkpoints(tmp_path)[0].name == "0-2_1.ckpt"


def test_overflows_without_end_stop(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer_module, "MAX_SKIPS_IN_A_ROW", 4)

    def data(epoch, first_image, first_batch):
        for images, labels, indices in batches(epoch, first_image, first_batch):
            yield images * np.float32(np.nan), labels, indices

    with pytest.raises(ReportedError, match="4 updates in a row overflowed at epoch 1, step 4"):
        make_trainer(tmp_path, step=make_step(scaling=LossScaling("dynamic")), data=data).run()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_position_and_stops(number, tmp_path):
    """Signalled as `deliver_interrupts` does; tests/test_resume.py sends real signals to the real command."""

    def data(epoch, first_image, first_batch):
        for i, batch in enumerate(batches(epoch, first_image, first_batch)):
            if (epoch, i) == (1, 2):
                _thread.interrupt_main(number)
            yield batch

    with pytest.raises(StopError, match=rf"stopped by {number.name} \(saved: .*/0-2_3\.ckpt\); go on with --resume"):
        make_trainer(tmp_path, data=data).run()
    assert names(tmp_path) == ["0-1_5.ckpt", "0-2_3.ckpt"]
    assert len(rows(tmp_path)) == 1


def unreadable_at(broken: tuple[int, int], accumulation_steps: int = 1):
    """Data of which, in an epoch, a batch cannot be read."""

    def data(epoch, first_image, first_batch):
        for i, batch in enumerate(batches(epoch, first_image, first_batch, accumulation_steps), first_batch):
            if (epoch, i) == broken:
                raise ReportedError("cat/1.jpg cannot be read: Input/output error")
            yield batch

    return data


@pytest.mark.slow
@pytest.mark.parametrize(("accumulation_steps", "broken"), [(1, (1, 2)), (2, (1, 5))])
def test_an_unreadable_file_saves_the_position_and_training_goes_on_from_there(accumulation_steps, broken, tmp_path):
    """Once it is mended the end is, bit for bit, that of a run that was not interrupted."""
    plan = {"num_images": STEPS * BATCH * accumulation_steps, "accumulation_steps": accumulation_steps}
    good, bad = unreadable_at((-1, 0), accumulation_steps), unreadable_at(broken, accumulation_steps)
    step, resumed, whole = (make_step(accumulation_steps=accumulation_steps) for _ in range(3))
    with pytest.raises(UnreadableDataError) as raised:
        make_trainer(tmp_path, step=step, data=bad, **plan).run()
    saved = tmp_path / "0-2_2.ckpt"
    assert str(raised.value) == (
        f"cat/1.jpg cannot be read: Input/output error; saved: {saved}; go on with --resume {tmp_path}"
    )
    assert names(tmp_path) == ["0-1_5.ckpt", saved.name]

    checkpoint = load_checkpoint(saved)
    load_training_state(resumed.saved_parameters(), checkpoint)
    progress = Progress.from_dict(checkpoint.require("progress"))
    for name, trained, begin in (("on", resumed, progress), ("whole", whole, None)):
        (tmp_path / name).mkdir()
        make_trainer(tmp_path / name, step=trained, progress=begin, data=good, **plan).run()
    assert all(value.tobytes() == values(whole)[name].tobytes() for name, value in values(resumed).items())


@pytest.mark.parametrize(
    ("broken", "where"),
    [((0, 0), "nothing has been trained yet"), ((1, 0), r"saved: .*/0-1_5\.ckpt; go on with --resume")],
)
def test_an_unreadable_file_at_the_beginning_of_an_epoch(broken, where, tmp_path):
    with pytest.raises(UnreadableDataError, match=rf"cannot be read: Input/output error; {where}"):
        make_trainer(tmp_path, data=unreadable_at(broken)).run()


def test_unreadable_held_out_data_lose_no_position_either(tmp_path):
    def evaluate(_):
        raise ReportedError("dog/2.jpg cannot be read")

    with pytest.raises(ReportedError, match=r"dog/2\.jpg cannot be read; saved: .*/0-1_5\.ckpt; go on with --resume"):
        make_trainer(tmp_path, evaluate=evaluate).run()


def test_data_that_another_rank_cannot_read_end_all_ranks_at_the_same_step(tmp_path):
    trainer = make_trainer(tmp_path)
    reasons = iter([0, 0, 0, UNREADABLE])  # of the other rank, before the first step and after each
    ask = lambda flag: max(flag, next(reasons, 0))  # noqa: E731
    trainer.group = SimpleNamespace(world_size=1, is_master=True, any=ask, wait=lambda: None)
    with pytest.raises(UnreadableDataError, match=r"another rank cannot be read.*; saved: .*/0-1_3\.ckpt; go on with"):
        trainer.run()
    assert names(tmp_path) == ["0-1_3.ckpt"]


def test_a_signal_during_the_evaluation_stops_it(tmp_path):
    def evaluate(stop_requested):
        assert not stop_requested()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop_requested()
        return Accuracy(3)

    with pytest.raises(StopError) as raised:
        make_trainer(tmp_path, evaluate=evaluate).run()
    assert raised.value.exit_status == 143
    assert names(tmp_path) == ["0-1_5.ckpt"]
    assert rows(tmp_path) == []


def test_of_a_full_disk_the_first_error_is_told(tmp_path, monkeypatch):
    def full(what):
        def refuse(*_):
            raise ReportedError(f"cannot write {what}")

        return refuse

    monkeypatch.setattr("src.training.saver.save_checkpoint", full("the checkpoint"))
    monkeypatch.setattr(Recorder, "close", full("the picture"))
    with pytest.raises(ReportedError, match="cannot write the checkpoint"):
        make_trainer(tmp_path).run()


class Refresh:
    """What the loop asks of a `StatisticsRefresh`; it changes one weight when it is done."""

    def __init__(self, step, on_take=lambda: None) -> None:
        self.step, self.on_take, self.taken = step, on_take, []

    def take(self, images: np.ndarray) -> None:
        self.taken.append(images)
        self.on_take()

    def finish(self) -> None:
        bias = self.step.network.fc.bias
        bias.set_data(Tensor(bias.asnumpy() + 1))


def test_statistics_are_counted_anew_before_the_last_evaluation_and_saved(tmp_path):
    step, seen = make_step(), []
    refresh = Refresh(step)

    def evaluate(_):
        seen.append((len(refresh.taken), step.network.fc.bias.asnumpy().copy()))
        return Accuracy(3)

    make_trainer(tmp_path, step=step, refresh=refresh, evaluate=evaluate).run()
    assert [count for count, _ in seen] == [0, STEPS]
    expected = [images for images, *_ in batches(2, 0, 0)]  # of the epoch after the last one
    np.testing.assert_array_equal(refresh.taken, expected)
    saved = load_checkpoint(tmp_path / f"0-2_{STEPS}.ckpt")
    np.testing.assert_array_equal(saved.arrays["fc.bias"], seen[-1][1])
    assert saved.metadata["progress"]["refresh_due"] is False


def test_a_stop_while_statistics_are_counted_begins_that_anew(tmp_path):
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    whole = make_step()
    make_trainer(tmp_path / "whole", step=whole, refresh=Refresh(whole)).run()

    step = make_step()
    stop = Refresh(step, on_take=lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(StopError):
        make_trainer(tmp_path / "stopped", step=step, refresh=stop).run()
    saved = load_checkpoint(tmp_path / "stopped" / f"0-2_{STEPS}.ckpt")
    assert saved.metadata["progress"]["refresh_due"] is True
    again = make_step()
    load_training_state(again.saved_parameters(), saved)
    progress = Progress.from_dict(saved.metadata["progress"])
    make_trainer(tmp_path / "stopped", step=again, progress=progress, refresh=Refresh(again)).run()
    for name, value in values(whole).items():
        np.testing.assert_array_equal(values(again)[name], value)
