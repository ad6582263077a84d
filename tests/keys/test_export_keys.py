"""What every key of export.py does; those of the network are in test_network_keys.py."""

import pytest
from keys.key_tables import EXPORT, FOLDER_INT8, OF_THE_MODEL, assert_the_key_does_something

import export
from src.model_utils import device_adapter
from src.utils.errors import ReportedError, UsageError

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("row", EXPORT, ids=lambda row: row[0])
def test_export(row, exported, sketched):
    assert_the_key_does_something(row, exported if row[3][0] in OF_THE_MODEL else sketched)


def test_the_same_flags_give_the_same_model(exported):
    """So a difference above comes from the key."""
    assert exported(FOLDER_INT8).numbers() == exported(FOLDER_INT8 + " ").numbers()


def test_export_refuses_another_network(planned, tmp_path):
    with pytest.raises(UsageError, match=r"bn_size is 3, but .* was made with 4; leave --bn_size out"):
        export.main(["--ckpt_file", str(planned("").last), "--bn_size", "3", "--file_name", str(tmp_path / "m")])


def test_export_workers_and_device(planned, described, monkeypatch):
    checkpoint = planned("").last
    assert described(checkpoint, "--num_parallel_workers", "1")[1] == 1
    with pytest.raises(UsageError, match="num_parallel_workers is 9999"):
        described(checkpoint, "--num_parallel_workers", "9999")
    with pytest.raises(ReportedError, match="device_target is Ascend"):
        described(checkpoint, "--device_target", "Ascend")
    asked = []
    monkeypatch.setattr(device_adapter.ms, "set_device", lambda *device: asked.append(device))
    described(checkpoint, "--device_id", "3")
    assert asked == [("CPU", 3)]


def test_export_reports_keys_that_it_does_not_use(planned, described, capsys):
    described(planned("").last, "--lr", "1", "--on_bad_image", "skip")
    out = capsys.readouterr().out
    assert "export.py does not use --lr" in out
    assert "export.py does not use --on_bad_image" in out
