"""What every other key of train.py does; those of the network are in test_network_keys.py."""

import pytest
from commands import only
from keys.key_tables import OF_THE_COMPUTATION, TRAIN, ZOO, assert_the_key_does_something
from keys.runs import BASE, Result

import train
import train_parts
from src.model_utils import device_adapter
from src.network.recompute import RecomputedBottleneck
from src.training.limits import Limits
from src.utils.errors import UsageError

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("row", [row for row in TRAIN if row[0] not in ZOO], ids=lambda row: row[0])
def test_train(row, trained, planned):
    assert_the_key_does_something(row, trained if row[3][0] in OF_THE_COMPUTATION else planned)


def test_the_same_flags_give_the_same_weights(trained):
    """So a difference above comes from the key."""
    assert trained("").all_bits() == trained(" ").all_bits()


@pytest.mark.usefixtures("no_steps")
def test_train_workers(tmp_path, monkeypatch):
    asked = []

    def batches(source, preprocessing, how, **named):
        asked.append(how.workers)
        return real(source, preprocessing, how, **named)

    real = train_parts.training_batches
    monkeypatch.setattr(train_parts, "training_batches", batches)
    train.main([*BASE, "--num_parallel_workers", "1", "--max_epoch", "1", "--save_ckpt_path", str(tmp_path)])
    assert set(asked) == {1}
    with pytest.raises(UsageError, match="num_parallel_workers is 9999"):
        train.main([*BASE, "--num_parallel_workers", "9999", "--save_ckpt_path", str(tmp_path)])


@pytest.mark.usefixtures("no_steps")
def test_max_hours(tmp_path, monkeypatch):
    """What comes of them: tests/training/test_limits.py."""
    asked = []
    monkeypatch.setattr(train, "Limits", lambda *limits: asked.append(limits) or Limits(*limits))
    train.main([*BASE, "--max_epoch", "1", "--max_hours", "2.5", "--save_ckpt_path", str(tmp_path)])
    assert asked == [(0, 2.5, "top1")]


@pytest.mark.usefixtures("no_steps")
def test_recompute(tmp_path, monkeypatch):
    """Its bottlenecks are others; that gradients stay the same is tested with the network."""
    built = []

    def network(*arguments, **named):
        built.append(real(*arguments, **named))
        return built[-1]

    real = train_parts.build_network
    monkeypatch.setattr(train_parts, "build_network", network)
    for name, flag in (("off", "false"), ("on", "true")):
        flags = ["--recompute", flag, "--cpu_kernels", "off", "--max_epoch", "1"]
        train.main([*BASE, *flags, "--save_ckpt_path", str(tmp_path / name)])
    counts = [sum(isinstance(cell, RecomputedBottleneck) for _, cell in net.cells_and_names()) for net in built]
    assert counts == [0, 2]


@pytest.mark.usefixtures("no_steps")
def test_deterministic(command_line, monkeypatch):
    asked = []
    monkeypatch.setattr(device_adapter, "_set_deterministic", asked.append)
    main, flags = command_line("train")
    for value in ("true", "false"):
        main([*flags, "--deterministic", value])
    assert asked == [True, False]


def test_resume(trained, tmp_path):
    """It goes on from the position and does not begin anew."""
    (tmp_path / "0-1_1.ckpt").write_bytes((trained("").folder / "0-1_1.ckpt").read_bytes())
    train.main(["--resume", str(tmp_path / "0-1_1.ckpt"), "--save_ckpt_path", str(tmp_path / "out")])
    resumed = Result(only(tmp_path / "out"))
    assert resumed.checkpoints() == ["0-2_1.ckpt"]
    assert resumed.all_bits() == trained("").all_bits()
