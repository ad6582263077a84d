"""What a rank leaves for its launcher."""

import pytest

from src.utils.ending import tell_done
from src.utils.job_status import JobStatus, done_file, done_status


@pytest.mark.parametrize(("device", "need_not_be_waited_for"), [("CPU", True), ("Ascend", False), ("GPU", False)])
def test_a_rank_s_device_is_given_back_before_the_launcher_goes_on(device, need_not_be_waited_for, tmp_path):
    JobStatus(tmp_path, 3, device)
    assert not done_file(tmp_path, 3).exists()
    tell_done(1)
    assert done_file(tmp_path, 3).exists()
    assert done_status(tmp_path, 3) == (1 if need_not_be_waited_for else None)


def test_a_rank_that_did_not_do_its_work_is_not_done(tmp_path):
    JobStatus(tmp_path, 0, "CPU")
    tell_done(None)
    assert not done_file(tmp_path, 0).exists()
