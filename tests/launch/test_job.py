"""A job is checked as a whole before anything starts."""

import re
import subprocess
import sys

import pytest
from commands import ROOT

import src.launch.job
from src.launch.job import check_job
from src.launch.rank_table import number_hosts, write_rank_table
from src.utils.errors import ReportedError, UsageError

DIGITS = ["--net", "densenet100", "--dataset", "digits"]
TWO_HOSTS = {"NODE_NUM": "2", "NODE_RANK": "1", "MASTER_ADDR": "192.0.2.1"}


def check(*flags, command="train", target="CPU", number="2", devices="", environ=None):
    return check_job(command, target, number, devices, [*DIGITS, f"--device_target={target}", *flags], environ or {})


def test_the_ranks_of_a_host_follow_those_of_the_host_before():
    job = check()
    assert (job.world_size, job.ranks) == (2, range(2))
    second = check(environ=TWO_HOSTS)
    assert (second.world_size, second.ranks) == (4, range(2, 4))


def test_weights_by_name_are_no_path_of_this_host():
    assert check("--train_pretrained=timm/densenet121.ra_in1k").world_size == 2


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"number": "0"}, UsageError, "DEVICE_NUM is '0', expected how many ranks each host runs"),
        ({"number": "two"}, UsageError, "DEVICE_NUM is 'two', expected how many ranks"),
        ({"environ": {"HANG_TIMEOUT": "x"}}, UsageError, "HANG_TIMEOUT is 'x'"),
        ({"target": "GPU", "devices": "0"}, UsageError, "VISIBLE_DEVICES names 1 devices (0), but DEVICE_NUM is 2"),
        ({"target": "Ascend", "devices": "/no/table"}, UsageError, "/no/table: the rank table does not exist"),
        ({"environ": {"MASTER_ADDR": "192.0.2.1"}}, UsageError, "MASTER_ADDR 192.0.2.1 is not an address of this host"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        check(**arguments)


@pytest.mark.parametrize(
    "flags, error, message",
    [
        (["--lernrate", "1"], UsageError, "--lernrate"),
        (["--is_distributed", "0"], UsageError, "found is_distributed 0, with which each rank would run alone"),
        (["--device_target", "GPU"], UsageError, "found device_target GPU, but this script is for CPU"),
        (["--dataset=folder", "--train_data_dir=/no/data"], ReportedError, "train_data_dir /no/data does not exist"),
        (["--train_pretrained=/no.ckpt"], ReportedError, "train_pretrained /no.ckpt does not exist on this host"),
        (["--resume=/no/run"], ReportedError, "resume /no/run does not exist on this host"),
    ],
)
def test_wrong_flags_and_paths(flags, error, message):
    with pytest.raises(error, match=re.escape(message)):
        check(*flags)


def test_only_the_masters_host_needs_what_training_starts_from():
    check("--resume=/no/run", environ=TWO_HOSTS)
    check("--resume=auto")
    with pytest.raises(ReportedError, match=r"ckpt_files /no\.ckpt does not exist"):
        check("--ckpt_files=/no.ckpt", command="eval", environ=TWO_HOSTS)


def test_a_rank_table_says_which_devices_this_host_uses(tmp_path, monkeypatch):
    monkeypatch.setattr(src.launch.job, "check_devices", lambda *_: None)  # there are none here
    hosts = [(f"10.0.0.{host}", [(device, f"10.1.{host}.{device}") for device in (6, 7)]) for host in (1, 2)]
    path = tmp_path / "rank table.json"
    write_rank_table(number_hosts(hosts), path)
    job = check(target="Ascend", devices=str(path), environ=TWO_HOSTS)
    assert (job.rank_table, job.device_ids) == (path, (6, 7))
    assert check(target="Ascend", devices="none").device_ids == ()
    with pytest.raises(UsageError, match="the rank table has 4 devices, 2 were asked for"):
        check(target="Ascend", devices=str(path))
    uneven = tmp_path / "uneven.json"
    write_rank_table(number_hosts([("a", [(0, "10.1.0.1")]), ("b", [(i, f"10.1.1.{i}") for i in (1, 2, 3)])]), uneven)
    with pytest.raises(UsageError, match="its host number 1 has 3 devices, but DEVICE_NUM is 2; each host has to"):
        check(target="Ascend", devices=str(uneven), environ=TWO_HOSTS)


def test_too_few_devices_are_found_here():
    with pytest.raises(ReportedError, match="DEVICE_NUM is 2, but this host has 0 Ascend devices"):
        check(target="Ascend", devices="none")


def test_the_launcher_imports_no_mindspore():
    """Its threads would not survive the fork of BACKGROUND=1, and its memory would be taken on every host."""
    code = "import sys, src.launch.__main__; sys.exit(any(name in sys.modules for name in ('mindspore', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
