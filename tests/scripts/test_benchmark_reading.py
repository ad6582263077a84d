"""The command on a few pictures; what it measures on this machine proves nothing."""

import pytest

from scripts.benchmark_reading import main
from src.utils.errors import UsageError


def test_every_way_is_measured_and_nothing_left(tmp_path, capsys):
    found = main(["--pictures", "128", "--rounds", "1", "--folder", str(tmp_path)])
    cold = [f"{name}, {what}" for name in ("folder", "MindRecord") for what in ("files alone", "batches")]
    expected = {f"{way}, {state}" for way in [*cold, "cache disk, batches"] for state in ("cold", "warm")}
    assert found.keys() == expected | {"cache ram, batches, warm"}
    assert min(found.values()) > 0
    assert "128 JPEGs of 64 x 64, medians of 1; load " in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_numbers_out_of_range_are_bad_usage():
    with pytest.raises(UsageError, match="--pictures: found 3, expected 64 to 10000000"):
        main(["--pictures", "3"])
