"""Names after the time, none taken twice."""

from datetime import datetime

import pytest

from src.utils.stamped import make_new, time_stamp


def test_time_stamp():
    assert time_stamp(datetime(2026, 1, 31, 12, 0, 5)) == "2026-01-31_time_12_00_05"


def test_a_taken_name_gets_a_number(tmp_path):
    made = [make_new(tmp_path / "run.log", lambda path: path.touch(exist_ok=False)).name for _ in range(3)]
    assert made == ["run.log", "run_1.log", "run_2.log"]
    folders = [make_new(tmp_path / "logs" / "run", lambda path: path.mkdir(parents=True)).name for _ in range(2)]
    assert folders == ["run", "run_1"]


def test_a_file_in_the_way_of_the_folder_is_an_error(tmp_path):
    (tmp_path / "logs").touch()
    with pytest.raises(OSError, match="Not a directory"):
        make_new(tmp_path / "logs" / "run", lambda path: path.mkdir(parents=True))
