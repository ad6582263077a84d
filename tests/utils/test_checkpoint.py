"""Checkpoints: what is written is read back, and nothing else is taken for one."""

import errno
import json
import os
import pickle
import re
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn

from src.utils.checkpoint import (
    METADATA_KEY,
    checkpoints_to_evaluate,
    copy_checkpoint,
    list_checkpoints,
    load_checkpoint,
    load_training_state,
    load_weights,
    remove_leftovers,
    save_checkpoint,
)
from src.utils.checkpoint_arrays import DamagedError, MissingError
from src.utils.checkpoint_names import checkpoint_name
from src.utils.errors import ReportedError

METADATA = {"class_names": ["null", "één"], "progress": {"epoch": 1, "images": 8}}


def parameters() -> list[Parameter]:
    values = {"w": np.array([[1.5, -0.0]], np.float32), "moments.w": np.array([[7, 8]], np.float32)}
    values |= {"loss_scale": np.float32(1024), "skipped_steps": np.int32(3)}
    return [Parameter(Tensor(value), name=name) for name, value in values.items()]


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "0-1_2.ckpt"
    save_checkpoint(path, parameters(), METADATA)
    return path


class Network(nn.Cell):
    """body.weight (2, 3), head.fc.weight (classes, 2) and head.fc.bias (classes,)."""

    def __init__(self, classes: int, width: int = 3) -> None:
        super().__init__(auto_prefix=False)
        self.weight = Parameter(Tensor(np.ones((2, width), np.float32)), name="body.weight")
        self.fc = Parameter(Tensor(np.ones((classes, 2), np.float32)), name="head.fc.weight")
        self.bias = Parameter(Tensor(np.ones(classes, np.float32)), name="head.fc.bias")


def saved_network(path, classes: int):
    network = Network(classes)
    for parameter in network.get_parameters():
        parameter.set_data(parameter * 5)
    moments = Parameter(Tensor(np.zeros((2, 3), np.float32)), name="moments.body.weight")
    save_checkpoint(path, [*network.get_parameters(), moments], {})
    return load_checkpoint(path)


def test_arrays_and_metadata_come_back_bit_for_bit(saved):
    checkpoint = load_checkpoint(saved)
    assert {name: (value.dtype, value.tobytes()) for name, value in checkpoint.arrays.items()} == {
        p.name: (p.asnumpy().dtype, p.asnumpy().tobytes()) for p in parameters()
    }
    assert checkpoint.require("class_names") == METADATA["class_names"]
    assert checkpoint.require("progress") == METADATA["progress"]
    assert checkpoint.metadata["versions"]["mindspore"] == ms.__version__
    assert saved.stat().st_mode & 0o777 == 0o644


def test_weights_leave_out_the_training_state(saved):
    assert list(load_checkpoint(saved).weights()) == ["w"]


def test_no_truncated_file_can_be_resumed_from(saved):
    """One cut exactly between two entries looks like the model zoo's: weights, but no position to go on from."""
    data, cut = saved.read_bytes(), saved.with_name("cut.ckpt")
    for length in range(len(data)):
        cut.write_bytes(data[:length])
        with pytest.raises(ReportedError, match=r"truncated|carries no progress"):
            load_checkpoint(cut).require("progress")


def test_every_flipped_byte_is_noticed(saved):
    """The checksum covers the content; the 17 bytes of its own record are noticed as well."""
    data, bad = saved.read_bytes(), saved.with_name("bad.ckpt")
    for position in range(0, len(data), 7):
        bad.write_bytes(data[:position] + bytes([data[position] ^ 0x10]) + data[position + 1 :])
        with pytest.raises(ReportedError):
            load_checkpoint(bad)


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"not a checkpoint", pickle.dumps({"a": 1})])
def test_foreign_files_are_reported(content, tmp_path, capfd):
    path = tmp_path / "0-1_1.ckpt"
    path.write_bytes(content)
    with pytest.raises(ReportedError, match="cannot be read as a MindSpore checkpoint"):
        load_checkpoint(path)
    assert capfd.readouterr() == ("", "")


def test_missing_file_and_folder_are_told_apart(tmp_path):
    with pytest.raises(ReportedError, match=r"none\.ckpt does not exist; give a \.ckpt file"):
        load_checkpoint(tmp_path / "none.ckpt")
    with pytest.raises(ReportedError, match="is a folder"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "metadata that is not this project's JSON"),
        ("[]", "metadata that is not this project's JSON"),
        ("[" * 100_000, "metadata that is not this project's JSON"),
        (f'{{"format": 1, "progress": {10**400}}}', "metadata that is not this project's JSON"),
        (json.dumps({"format": 99}), "has format 99, this release reads format 1; update the code"),
    ],
)
def test_metadata_is_not_trusted(text, message, tmp_path):
    path = str(tmp_path / "a.ckpt")
    ms.save_checkpoint([{"name": "w", "data": Tensor([1.0])}], path, append_dict={METADATA_KEY: text}, crc_check=True)
    with pytest.raises(ReportedError, match=message):
        load_checkpoint(path)


def test_a_file_of_ours_without_its_checksum_is_truncated(tmp_path):
    path = str(tmp_path / "a.ckpt")
    ms.save_checkpoint([{"name": "w", "data": Tensor([1.0])}], path, append_dict={METADATA_KEY: '{"format": 1}'})
    with pytest.raises(ReportedError, match="lost the checksum"):
        load_checkpoint(path)


def test_a_model_zoo_file_holds_weights_and_answers_nothing(tmp_path):
    ms.save_checkpoint([{"name": "w", "data": Tensor([1.0])}], str(tmp_path / "zoo.ckpt"))
    checkpoint = load_checkpoint(tmp_path / "zoo.ckpt")
    assert checkpoint.weights()["w"].tolist() == [1.0]
    with pytest.raises(ReportedError, match=r"carries no progress: it was not written by this project's train\.py"):
        checkpoint.require("progress")


def test_names_sort_by_position_and_belong_to_a_rank(tmp_path):
    assert checkpoint_name(1, 12, 340) == "1-12_340.ckpt"
    for name in ("0-2_10.ckpt", "0-10_1.ckpt", "0-2_9.ckpt", "1-99_1.ckpt", "best.ckpt", ".tmp-1.ckpt", "0-3_1.tmp"):
        (tmp_path / name).touch()
    (tmp_path / "0-98_1.ckpt").mkdir()
    assert [path.name for path in list_checkpoints(tmp_path)] == ["0-10_1.ckpt", "0-2_10.ckpt", "0-2_9.ckpt"]
    assert [path.name for path in list_checkpoints(tmp_path, 1)] == ["1-99_1.ckpt"]


def test_leftovers_are_removed_and_nothing_else(tmp_path):
    for name in (".tmp-1.ckpt", ".tmp-1.tmp", "0-1_1.ckpt"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["0-1_1.ckpt"]


def test_a_folder_is_evaluated_newest_first_and_best_only_when_it_is_another_position(saved):
    folder = saved.parent
    copy_checkpoint(saved, folder / "best.ckpt")
    save_checkpoint(folder / "0-2_2.ckpt", parameters(), {"progress": {"epoch": 2, "images": 8}})
    assert [c.path.name for c in checkpoints_to_evaluate(folder)] == ["0-2_2.ckpt", "0-1_2.ckpt"]
    saved.unlink()
    assert [c.path.name for c in checkpoints_to_evaluate(folder)] == ["0-2_2.ckpt", "best.ckpt"]
    assert [c.path.name for c in checkpoints_to_evaluate(folder / "best.ckpt")] == ["best.ckpt"]


def test_best_of_other_weights_is_evaluated_too(tmp_path):
    for name, weights in (("0-1_2.ckpt", "ema"), ("best.ckpt", "raw")):
        save_checkpoint(tmp_path / name, parameters(), METADATA | {"weights": weights})
    assert [found.path.name for found in checkpoints_to_evaluate(tmp_path)] == ["0-1_2.ckpt", "best.ckpt"]


def test_the_average_or_the_raw_weights(tmp_path):
    """Whichever the file says, or the caller; each under the network's names."""
    averages = [Parameter(Tensor(np.float32([[4, 5]])), name="ema.w"), Parameter(Tensor(3), name="ema_updates")]
    for said, expected in (("ema", [[4, 5]]), ("raw", [[1.5, 0]]), (None, [[1.5, 0]])):
        path = tmp_path / f"{said}.ckpt"
        save_checkpoint(path, [*parameters(), *averages], METADATA | ({"weights": said} if said else {}))
        found = load_checkpoint(path)
        assert {name: value.tolist() for name, value in found.weights().items()} == {"w": expected}
        assert found.weights("ema")["w"].tolist() == [[4, 5]]
        assert found.weights("raw")["w"].tolist() == [[1.5, 0]]
    for said in ("both", 7, ["ema"]):
        save_checkpoint(tmp_path / "x.ckpt", [*parameters(), *averages], METADATA | {"weights": said})
        with pytest.raises(ReportedError, match="carries weights that are neither raw nor ema; use another copy"):
            load_checkpoint(tmp_path / "x.ckpt").weights()


def test_what_goes_while_a_folder_is_opened_is_passed_over(saved, monkeypatch, capsys):
    """A run that trains in it removes its older checkpoints."""
    folder = saved.parent
    save_checkpoint(folder / "0-2_2.ckpt", parameters(), {"progress": {"epoch": 2, "images": 8}})
    listed = list_checkpoints(folder)
    monkeypatch.setattr("src.utils.checkpoint.list_checkpoints", lambda *_: listed)
    saved.unlink()
    assert [c.path.name for c in checkpoints_to_evaluate(folder)] == ["0-2_2.ckpt"]
    assert "0-1_2.ckpt: it was removed meanwhile" in capsys.readouterr().out


def test_an_empty_folder_to_evaluate_is_an_error(tmp_path):
    with pytest.raises(ReportedError, match=r"holds no \.ckpt file; give a checkpoint or a folder of checkpoints$"):
        checkpoints_to_evaluate(tmp_path)


def test_a_folder_of_runs_is_no_run_and_one_is_named(saved, tmp_path):
    for name in ("2026-01-01_time_00_00_00", "2026-01-02_time_00_00_00"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        copy_checkpoint(saved, tmp_path / "runs" / name / "best.ckpt")
    with pytest.raises(ReportedError, match=r"holds no \.ckpt file; .*, such as .*runs/2026-01-02_time_00_00_00$"):
        checkpoints_to_evaluate(tmp_path / "runs")


def test_weights_are_set_and_the_training_state_is_ignored(tmp_path):
    network = Network(4)
    load_weights(network, saved_network(tmp_path / "a.ckpt", 4))
    assert {p.name: p.asnumpy().max() for p in network.get_parameters()} == {
        "body.weight": 5, "head.fc.weight": 5, "head.fc.bias": 5,
    }  # fmt: skip


def test_another_class_count_needs_reset_head(tmp_path):
    network, checkpoint = Network(3), saved_network(tmp_path / "a.ckpt", 4)
    with pytest.raises(ReportedError, match=r"head\.fc\.weight is \(4, 2\) in the file.*--reset_head true"):
        load_weights(network, checkpoint)
    assert network.weight.asnumpy().max() == 1, "nothing is set when something does not fit"
    load_weights(network, checkpoint, reset_head=True)
    assert network.weight.asnumpy().max() == 5
    assert network.fc.asnumpy().max() == 1


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("body.weight", lambda v: v * np.nan, "body.weight has values that are not finite"),
        ("head.fc.bias", lambda v: v * np.float32(np.inf), "head.fc.bias has values that are not finite"),
        ("body.weight", lambda v: v * np.float32(2.0**64), "body.weight has values beyond 1e"),
        ("norm.moving_variance", lambda v: -v * np.float32(2.0**64), "norm.moving_variance has values beyond 1e"),
        ("norm.moving_variance", lambda v: -v, "norm.moving_variance has negative variances"),
        ("norm.moving_variance", lambda v: v * np.nan, "norm.moving_variance has values that are not finite"),
        ("body.weight", lambda v: v.astype(np.float64) * 1e300, "body.weight has values that are not finite"),
        ("body.weight", lambda v: v.view(np.int32), "body.weight has the type int32, expected float32"),
    ],
)
def test_numbers_that_no_network_has_are_refused(name, change, message, tmp_path):
    """MindSpore's ReLU makes 0 of NaN: such a network answers, and was counted."""
    network = Network(4)
    network.variance = Parameter(Tensor(np.ones(2, np.float32)), name="norm.moving_variance")
    values = {p.name: p.asnumpy().copy() for p in network.get_parameters()}
    changed = [Parameter(Tensor(change(v) if n == name else v * 5), name=n) for n, v in values.items()]
    save_checkpoint(tmp_path / "a.ckpt", changed, {})
    for load in (load_weights, lambda net, given: load_training_state(net.get_parameters(), given)):
        with pytest.raises(ReportedError, match=message):
            load(network, load_checkpoint(tmp_path / "a.ckpt"))
        assert all(np.array_equal(p.asnumpy(), values[p.name]) for p in network.get_parameters())


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.ENOMEM, errno.ESTALE])
@pytest.mark.parametrize("call", ["open", "read"])
def test_what_cannot_be_read_is_not_called_damaged(call, code, saved, monkeypatch):
    def fail(*_args, **_keywords):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("pathlib.Path.open" if call == "open" else "src.utils.checkpoint.scan", fail)
    with pytest.raises(ReportedError, match=f"cannot be read: {os.strerror(code)}; it is left as it is") as error:
        load_checkpoint(saved)
    assert not isinstance(error.value, DamagedError)


def test_pipes_and_devices_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.ckpt")
    with pytest.raises(ReportedError, match=r"pipe\.ckpt is a named pipe; give a \.ckpt file"):
        load_checkpoint(tmp_path / "pipe.ckpt")
    with pytest.raises(ReportedError, match="is a device"):
        load_checkpoint("/dev/zero")


def test_what_does_not_fit_is_listed_by_name(tmp_path):
    network, checkpoint = Network(4, width=5), saved_network(tmp_path / "a.ckpt", 4)
    network.extra = Parameter(Tensor([1.0]), name="body.extra")
    message = (
        "missing from it: body.extra; of another shape: body.weight is (2, 3) in the file and (2, 5) in the network; "
        "choose the --net"
    )
    with pytest.raises(ReportedError, match=re.escape(message)):
        load_weights(network, checkpoint, reset_head=True)


def test_training_state_is_set_whole_or_not_at_all(saved):
    fresh = [Parameter(Tensor(np.zeros(p.shape, p.asnumpy().dtype)), name=p.name) for p in parameters()]
    with pytest.raises(ReportedError, match="not in the network: skipped_steps; resume with the configuration"):
        load_training_state(fresh[:-1], load_checkpoint(saved))
    assert not any(p.asnumpy().any() for p in fresh)
    load_training_state(fresh, load_checkpoint(saved))
    assert all(p.asnumpy().tobytes() == q.asnumpy().tobytes() for p, q in zip(fresh, parameters(), strict=True))


def open_files(folder: Path) -> int:
    """How many of the folder's files this process holds open."""
    return sum(str(file.resolve()).startswith(f"{folder.resolve()}/") for file in Path("/proc/self/fd").iterdir())


def test_a_folder_of_more_checkpoints_than_files_may_be_open_is_evaluated(saved, monkeypatch):
    """The newest are opened again when their turn comes, the oldest stay open: those a run that trains removes."""
    monkeypatch.setattr("src.utils.checkpoint._MOST_OPEN", 3)
    folder = saved.parent
    for epoch in range(2, 7):
        copy_checkpoint(saved, folder / f"0-{epoch}_2.ckpt")
    before = open_files(folder)
    found = checkpoints_to_evaluate(folder)
    assert open_files(folder) - before == 3
    assert [c.path.name[:3] for c in found] == ["0-6", "0-5", "0-4", "0-3", "0-2", "0-1"]
    (folder / "0-1_2.ckpt").unlink()  # open
    (folder / "0-6_2.ckpt").unlink()  # closed
    save_checkpoint(folder / "0-5_2.ckpt", parameters(), {"progress": {"epoch": 2, "images": 8}})
    for checkpoint in found[2:]:
        assert checkpoint.arrays["w"].tolist() == [[1.5, -0.0]]
        checkpoint.arrays.close()
    assert open_files(folder) == before
    for gone, why in ((found[0], "does not exist"), (found[1], "was replaced by another meanwhile")):
        with pytest.raises(MissingError, match=why):
            gone.arrays["w"]
