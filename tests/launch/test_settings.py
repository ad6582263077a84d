"""What the environment says about a job."""

import re

import pytest

from src.launch.settings import Settings, read_settings
from src.utils.errors import UsageError


def test_an_empty_environment_means_one_host_and_any_port():
    assert read_settings({}) == read_settings({"NODE_NUM": "", "MASTER_PORT": "", "BACKGROUND": "0"}) == Settings()
    assert Settings().master_port == 0 and Settings().is_master


def test_everything_can_be_set():
    settings = read_settings(
        {
            "NODE_NUM": "3", "NODE_RANK": "2", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "9000", "MAX_RESTARTS": "4",
            "HANG_TIMEOUT": "5", "CLUSTER_TIMEOUT": "6", "STOP_TIMEOUT": "7", "BACKGROUND": "1",
        }
    )  # fmt: skip
    assert settings == Settings(3, 2, "10.0.0.1", 9000, 4, 5, 6, 7, True)
    assert not settings.is_master


def test_several_hosts_meet_at_the_usual_port():
    assert read_settings({"NODE_NUM": "2", "MASTER_ADDR": "10.0.0.1"}).master_port == 8118


@pytest.mark.parametrize(
    "environ, message",
    [
        ({"NODE_NUM": "0"}, "NODE_NUM is '0', expected a whole number from 1 to 100000"),
        ({"NODE_RANK": "1"}, "NODE_RANK is '1', expected a whole number from 0 to 0"),
        ({"NODE_NUM": "2", "MASTER_ADDR": "a", "NODE_RANK": "-1"}, "NODE_RANK is '-1', expected a whole number from 0"),
        ({"NODE_NUM": "2"}, "MASTER_ADDR is not set, but NODE_NUM is 2; set it to the address of host NODE_RANK=0"),
        ({"MASTER_PORT": "80"}, "MASTER_PORT is '80', expected a whole number from 1024 to 65535"),
        ({"MASTER_PORT": "65535", "MAX_RESTARTS": "1"}, "MASTER_PORT is '65535', expected a whole number from 1024 to"),
        ({"MAX_RESTARTS": "often"}, "MAX_RESTARTS is 'often', expected a whole number from 0 to 1000"),
        ({"HANG_TIMEOUT": "1.5"}, "HANG_TIMEOUT is '1.5', expected a whole number from 1 to 31536000"),
        ({"CLUSTER_TIMEOUT": "0"}, "CLUSTER_TIMEOUT is '0'"),
        ({"STOP_TIMEOUT": "9" * 40}, "STOP_TIMEOUT is '999"),
        ({"BACKGROUND": "yes"}, "BACKGROUND is 'yes', expected a whole number from 0 to 1"),
        ({"MAX_RESTARTS": "٣"}, "MAX_RESTARTS is '٣'"),  # a decimal to Python, not to msrun
    ],
)
def test_a_bad_value_names_its_variable(environ, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        read_settings(environ)
