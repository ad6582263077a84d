"""Where a run begins: what is loaded, what is recorded, and that nothing is recorded of a file that does not fit."""

import mindspore as ms
import numpy as np
import pytest
import toy

from src.datasets.preprocessing import default_preprocessing
from src.model_utils.group import ALONE
from src.network.architecture import architecture
from src.training.begin import Origin, begin
from src.training.model_card import ModelCard
from src.training.pretrained import Pretrained
from src.training.progress import Progress
from src.utils.checkpoint import load_checkpoint, save_checkpoint
from src.utils.errors import ReportedError

CARD = ModelCard(architecture("densenet100", 3), default_preprocessing("cifar10"), ("a", "b", "c"))
RECORDED = ["class_names.txt", "preview.png"]


def batches(epoch: int):
    assert epoch == 0
    yield np.zeros((4, 3, 8, 8), np.float32), np.zeros(4, np.int32), np.arange(4)


def begun(step, folder, *, resumed=None, pretrained=None) -> tuple[Progress, list[str]]:
    """The position, and the files that were recorded."""
    folder.mkdir()
    try:
        weights = Pretrained(str(pretrained.path), pretrained, (), None, None) if pretrained else None
        progress = begin(step, Origin(resumed, weights), CARD, batches, folder, ALONE, reset_head=False)
    finally:
        files = sorted(path.name for path in folder.iterdir())
    return progress, files


@pytest.fixture
def trained(tmp_path):
    """A checkpoint of the toy's step at epoch 1, all of whose values are 2."""
    parameters = [ms.Parameter(ms.ops.full_like(p, 2), name=p.name) for p in toy.make_step().saved_parameters()]
    path = tmp_path / "0-1_1.ckpt"
    save_checkpoint(path, parameters, {"progress": Progress(epoch=1).to_dict()})
    return load_checkpoint(path)


def test_a_new_run_keeps_its_initial_weights_and_records_what_it_trains_on(tmp_path):
    step, initial = toy.make_step(), toy.values(toy.make_step())
    assert begun(step, tmp_path / "run") == (Progress(), RECORDED)
    assert all(np.array_equal(value, initial[name]) for name, value in toy.values(step).items())
    assert (tmp_path / "run" / "class_names.txt").read_text() == "a\nb\nc\n"


def test_pretrained_weights_are_of_the_network_only(tmp_path, trained):
    step = toy.make_step()
    assert begun(step, tmp_path / "run", pretrained=trained) == (Progress(), RECORDED)
    values = toy.values(step)
    assert (values["fc.weight"] == 2).all()
    assert all((value == 0).all() for name, value in values.items() if name.startswith("moments."))


def test_a_resumed_run_has_all_of_the_step_and_records_nothing_again(tmp_path, trained):
    step = toy.make_step()
    progress, files = begun(step, tmp_path / "run", resumed=trained)
    assert (progress.epoch, files) == (1, [])
    assert all((value == 2).all() for value in toy.values(step).values())


def test_nothing_is_recorded_when_the_file_does_not_fit(tmp_path):
    other = tmp_path / "other.ckpt"
    save_checkpoint(other, [ms.Parameter(ms.ops.zeros(3), name="conv.weight")], {"progress": Progress().to_dict()})
    for way in ("pretrained", "resumed"):
        with pytest.raises(ReportedError, match=r"does not fit the network"):
            begun(toy.make_step(), tmp_path / way, **{way: load_checkpoint(other)})
        assert not list((tmp_path / way).iterdir())


def test_an_average_that_a_resumed_run_is_given_begins_with_its_weights(tmp_path, trained, capsys):
    """As it would from them in a new run: warmed up, whatever was before them; from then on it is resumed."""
    step = toy.make_step(ema_decay=0.9)
    progress, _ = begun(step, tmp_path / "run", resumed=trained)
    assert progress.epoch == 1
    values = toy.values(step)
    assert values["ema_updates"] == 0
    assert all((values[name] == 2).all() for name in values if name != "ema_updates")
    assert f"ema_decay: the average of the weights begins with those of {trained.path}" in capsys.readouterr().out

    later, again = tmp_path / "0-2_1.ckpt", toy.make_step(ema_decay=0.9)
    for parameter in step.average.averages:
        parameter.set_data(ms.ops.full_like(parameter, 3))
    save_checkpoint(later, step.saved_parameters(), {"progress": progress.to_dict()})
    begun(again, tmp_path / "again", resumed=load_checkpoint(later))
    assert (toy.values(again)["ema.fc.weight"] == 3).all()


def test_a_run_that_does_not_fit_is_no_matter_of_its_average(tmp_path):
    other = tmp_path / "other.ckpt"
    save_checkpoint(other, [ms.Parameter(ms.ops.zeros(3), name="conv.weight")], {"progress": Progress().to_dict()})
    with pytest.raises(ReportedError, match=r"does not fit the network; missing from it: fc\.weight"):
        begun(toy.make_step(ema_decay=0.9), tmp_path / "run", resumed=load_checkpoint(other))
