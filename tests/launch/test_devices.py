"""Counting a host's accelerators."""

import re

import pytest

from src.launch.devices import check_devices, check_visible_devices
from src.utils.errors import ReportedError, UsageError


@pytest.mark.parametrize("target, name", [("Ascend", "davinci"), ("GPU", "nvidia")])
def test_devices_are_the_drivers_numbered_files(target, name, tmp_path):
    for file in (f"{name}0", f"{name}1", f"{name}ctl", f"{name}_manager", "null"):
        (tmp_path / file).touch()
    check_devices(target, 2, tmp_path)
    message = f"DEVICE_NUM is 3, but this host has 2 {target} devices ({tmp_path}/{name}*); ask for fewer, or install"
    with pytest.raises(ReportedError, match=re.escape(message)):
        check_devices(target, 3, tmp_path)


def test_processes_on_the_cpu_need_none(tmp_path):
    check_devices("CPU", 1000, tmp_path)


@pytest.mark.parametrize("text, number", [("0", 1), ("3,1", 2), ("GPU-8932f937,GPU-0", 2)])
def test_visible_devices(text, number):
    check_visible_devices(text, number)


@pytest.mark.parametrize(
    "text, number, message",
    [
        ("", 1, "VISIBLE_DEVICES is '', expected different devices with commas between, such as 0,1"),
        ("0,0", 2, "VISIBLE_DEVICES is '0,0', expected different"),
        ("0, 1", 2, "VISIBLE_DEVICES is '0, 1', expected different"),
        ("0,1,", 2, "VISIBLE_DEVICES is '0,1,', expected different"),
        ("0,1", 4, "VISIBLE_DEVICES names 2 devices (0,1), but DEVICE_NUM is 4"),
    ],
)
def test_bad_visible_devices(text, number, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        check_visible_devices(text, number)
