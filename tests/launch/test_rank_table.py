"""Rank tables: what is written is read back, what contradicts itself is refused before a job starts."""

import copy
import json
import re
import subprocess
import sys

import pytest
from commands import ROOT

from scripts.hccl_rank_table import main
from src.launch.rank_table import merge, number_hosts, read_rank_table, write_rank_table
from src.utils.errors import UsageError


def host(number: int, devices: int) -> tuple:
    return f"10.0.0.{number}", [(i, f"10.1.{number}.{i}") for i in range(devices)]


@pytest.mark.parametrize("sizes", [(1,), (8,), (2, 2), (8,) * 4, (3, 1, 5), (8,) * 128])
def test_a_written_table_is_read_back(sizes, tmp_path):
    table = number_hosts([host(number, size) for number, size in enumerate(sizes)])
    write_rank_table(table, tmp_path / "a table.json")
    found = read_rank_table(tmp_path / "a table.json")
    assert found == table
    found.check(device_num=sum(sizes), node_num=len(sizes))
    assert [found.devices_of(i) for i in range(len(sizes))] == [list(range(size)) for size in sizes]
    assert [d.rank_id for h in found.hosts for d in h.devices] == list(range(sum(sizes)))
    assert merge([number_hosts([host(number, size)]) for number, size in enumerate(sizes)]) == table


def two_hosts() -> dict:
    """As other tools write it: hosts and devices in any order, keys that are not ours."""
    table = number_hosts([("node_0", [(4, "10.1.0.1"), (2, "10.1.0.2")]), ("10.0.0.2", [(0, "fe80::1")])]).to_dict()
    table["server_list"].reverse()
    table["server_list"][1]["device"].reverse()
    table["server_list"][0]["container_ip"] = "172.16.0.1"
    del table["server_list"][0]["host_nic_ip"]
    return table


def write(values: object, path) -> object:
    path.write_text(values if isinstance(values, str) else json.dumps(values))
    return path


def test_hosts_and_devices_come_in_the_order_of_their_ranks(tmp_path):
    table = read_rank_table(write(two_hosts(), tmp_path / "a.json"))
    assert [host.server_id for host in table.hosts] == ["node_0", "10.0.0.2"]
    assert (table.devices_of(0), table.devices_of(1), table.device_num) == ([4, 2], [0], 3)


NUMBER, SECOND = "expected a whole number as a string", "server_list[1].device[0]."


@pytest.mark.parametrize(
    "place, value, message",
    [
        (["version"], "1.1", 'version is "1.1", expected "1.0" or "1.2"'),
        (["version"], "1.2", "super_pod_list is missing, expected a list that is not empty"),
        (["version"], 1.0, 'version is 1.0, expected "1.0"'),
        (["version"], None, 'version is missing, expected "1.0"'),
        (["status"], "initializing", 'status is "initializing", expected "completed"'),
        (["server_count"], "1", 'server_count is "1", expected "2", the length of server_list'),
        (["server_count"], 2, 'server_count is 2, expected "2", the length of server_list'),
        (["server_list"], [], "server_list is [], expected a list that is not empty"),
        (["server_list"], "x" * 99, f'server_list is "{"x" * 59}..., expected a list that is not empty'),
        (["server_list", 1], 7, "server_list[1] is 7, expected a mapping"),
        (["server_list", 1, "server_id"], "", 'server_list[1].server_id is "", expected the host\'s address or name'),
        (["server_list", 1, "server_id"], "10.0.0.2", "server_id 10.0.0.2 is there twice"),
        (["server_list", 1, "device"], [], "server_list[1].device is [], expected a list that is not empty"),
        (["server_list", 1, "device"], None, "server_list[1].device is missing, expected a list that is not empty"),
        (["server_list", 1, "device", 0], "0", 'server_list[1].device[0] is "0", expected a mapping'),
        (["server_list", 1, "device", 0, "device_id"], 2, f"{SECOND}device_id is 2, {NUMBER}"),
        (["server_list", 1, "device", 0, "device_id"], "-1", f'{SECOND}device_id is "-1", {NUMBER}'),
        (["server_list", 1, "device", 0, "device_id"], "9" * 5000, f'{SECOND}device_id is "{"9" * 59}..., {NUMBER}'),
        (["server_list", 1, "device", 0, "device_id"], "4", "device_id of host node_0 4 is there twice"),
        (
            ["server_list", 1, "device", 0, "device_ip"],
            "10.1.0.256",
            f'{SECOND}device_ip is "10.1.0.256", expected an IP',
        ),
        (["server_list", 1, "device", 0, "device_ip"], 167837953, f"{SECOND}device_ip is 167837953, expected an IP"),
        (["server_list", 1, "device", 0, "device_ip"], "fe80::1", "device_ip fe80::1 is there twice"),
        (["server_list", 1, "device", 0, "rank_id"], "", f'{SECOND}rank_id is "", {NUMBER}'),
        (["server_list", 1, "device", 0, "rank_id"], "0", "rank_id 0 is there twice"),
        (["server_list", 1, "device", 0, "rank_id"], "3", "rank_id 1 is missing; the ranks of 3 devices count from 0"),
    ],
)
def test_a_malformed_table_is_refused_by_place(place, value, message, tmp_path):
    values = copy.deepcopy(two_hosts())
    *parents, last = place
    inner = values
    for key in parents:
        inner = inner[key]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    refused(write(values, tmp_path / "table.json"), message)


def refused(path, message: str) -> None:
    with pytest.raises(UsageError) as error:
        read_rank_table(path)
    assert str(error.value).startswith(f"{path}: {message}")
    assert str(error.value).endswith("; write the table with scripts/hccl_rank_table.py")


def test_ranks_of_a_host_follow_each_other(tmp_path):
    values = two_hosts()
    first, second = values["server_list"]
    first["device"][0]["rank_id"], second["device"][0]["rank_id"] = "1", "2"
    refused(write(values, tmp_path / "a.json"), "host node_0 has the ranks 0, 2; those of a host follow each other")


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "not JSON: Expecting value"),
        ('{"version": "1.0"', "not JSON: "),
        ("[" * 100_000, "not JSON: "),
        ("[]", "the rank table is [], expected a mapping"),
        (" " * (2**22 + 1), "more than 4194304 bytes, which no rank table has"),
    ],
)
def test_what_is_no_table_is_refused(text, message, tmp_path):
    refused(write(text, tmp_path / "a.json"), message)


def test_a_table_that_is_not_there_or_no_text_is_refused(tmp_path):
    refused(tmp_path / "a.json", "the rank table does not exist")
    refused(tmp_path, "the rank table is a folder")
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\xfd")
    refused(tmp_path / "a.json", "not JSON: ")


def test_another_size_than_asked_is_refused():
    table = number_hosts([host(0, 2), host(1, 2)])
    table.check()
    with pytest.raises(UsageError, match="the rank table has 4 devices, 8 were asked for"):
        table.check(device_num=8, node_num=2)
    with pytest.raises(UsageError, match="the rank table has 2 hosts, 1 were asked for"):
        table.check(node_num=1)
    with pytest.raises(UsageError, match="no host number 2, only 0 to 1"):
        table.devices_of(2)


def tool(folder, *arguments: str) -> tuple[int, str]:
    """Exit status and output of the command; without a mistake of ours nothing else is on stderr."""
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/hccl_rank_table.py", *arguments], cwd=folder, capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


def test_the_command_writes_merges_and_checks(tmp_path):
    conf = "address_0=192.168.100.101\nnetmask_0=255.255.255.0\naddress_2 = 192.168.102.101\n"
    (tmp_path / "hccn.conf").write_text(conf)
    ours = ["write", "h 0.json", "--server_id", "10.0.0.1", "--devices", "0,2"]
    assert tool(tmp_path, *ours, "--hccn_conf", "hccn.conf") == (0, "host 0: 10.0.0.1, ranks 0-1, devices 0,2\n")
    theirs = ["write", "h1.json", "--server_id=10.0.0.2", "--devices=4-6", "--device_ips", "10.1.0.4,10.1.0.5,10.1.0.6"]
    assert tool(tmp_path, *theirs)[0] == 0
    both = "host 0: 10.0.0.2, ranks 0-2, devices 4,5,6\nhost 1: 10.0.0.1, ranks 3-4, devices 0,2\n"
    assert tool(tmp_path, "merge", "job.json", "h1.json", "h 0.json") == (0, both)
    assert tool(tmp_path, "check", "job.json", "--device_num", "5", "--node_num", "2") == (0, both)
    assert read_rank_table(tmp_path / "job.json").hosts[1].devices[1].device_ip == "192.168.102.101"

    assert tool(tmp_path, "check", "job.json", "--device_num", "8") == (
        2,
        "error: the rank table has 5 devices, 8 were asked for; ask for 5 or write a table for 8\n",
    )
    before = (tmp_path / "job.json").read_bytes()
    assert tool(tmp_path, "merge", "job.json", "h1.json") == (
        2,
        "error: job.json exists and is not overwritten; choose another name\n",
    )
    assert (tmp_path / "job.json").read_bytes() == before
    assert tool(tmp_path, "merge", "twice.json", "h1.json", "h1.json") == (
        2,
        "error: server_id 10.0.0.2 is there twice\n",
    )
    assert not (tmp_path / "twice.json").exists()


WRITE = ["write", "OUT", "--server_id", "h"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "the following arguments are required: command; --help"),
        (["delete"], "invalid choice: 'delete'"),
        (["check", "a.json", "--device_num", "x"], "invalid int value: 'x'; --help"),
        (["write", "OUT"], "the following arguments are required: --server_id; --help"),
        (["write", "OUT", "--server_id", "a b"], "--server_id is 'a b', expected the host's address or name"),
        ([*WRITE, "--hccn_conf", "NONE"], "does not exist; name the file with --hccn_conf"),
        ([*WRITE, "--hccn_conf", "CONF"], "has no line address_1=; it has the devices 0: choose"),
        ([*WRITE, "--hccn_conf", "BAD"], "line 2: '192.168.1' is no IP address"),
        ([*WRITE, "--hccn_conf", "TWICE"], "line 3: address_0 is there twice"),
        ([*WRITE, "--hccn_conf", "BINARY"], "cannot be read as text"),
        ([*WRITE, "--devices", "3-1", "--device_ips", "10.0.0.1"], "--devices is '3-1', expected numbers like 0-7"),
        ([*WRITE, "--devices", "0-9999999", "--device_ips", "10.0.0.1"], "--devices is '0-9999999', expected"),
        ([*WRITE, "--devices", "1,1", "--device_ips", "10.0.0.1,10.0.0.2"], "device_id of host h 1 is there twice"),
        ([*WRITE, "--devices", "0", "--device_ips", "10.0.0.1,10.0.0.2"], "--device_ips has 2 addresses for 1 devices"),
        ([*WRITE, "--devices", "0", "--device_ips", "10.0.0"], "--device_ips holds '10.0.0', expected IP addresses"),
        ([*WRITE, "--device_ips", "10.0.0.1", "--hccn_conf", "CONF"], "not allowed with argument"),
    ],
)
def test_a_wrong_command_line_writes_nothing(arguments, message, tmp_path):
    (tmp_path / "CONF").write_text("address_0=10.1.0.1\n")
    (tmp_path / "BAD").write_text("netmask_0=255.0.0.0\naddress_0=192.168.1\n")
    (tmp_path / "TWICE").write_text("address_0=10.1.0.1\n\naddress_0=10.1.0.2\n")
    (tmp_path / "BINARY").write_bytes(b"address_0=\xff")
    before = sorted(tmp_path.iterdir())
    words = [str(tmp_path / word) if word.isupper() else word for word in arguments]
    with pytest.raises(UsageError, match=re.escape(message)):
        main(words)
    assert sorted(tmp_path.iterdir()) == before


def super_pods() -> dict:
    """Version 1.2, of Atlas A3, as cluster managers write it: three hosts of two devices in two super pods."""
    servers = [
        {
            "server_id": f"10.0.0.{host}",
            "container_ip": f"172.16.0.{host}",
            "device": [
                {
                    "device_id": str(i), "device_logical_id": str(i), "device_ip": f"10.1.{host}.{i}",
                    "super_device_id": str(114360329 + 65537 * (2 * host + i)), "rank_id": str(2 * host + i),
                }
                for i in range(2)
            ],
        }
        for host in range(3)
    ]  # fmt: skip
    pods = [
        {"super_pod_id": "1", "server_list": [{"server_id": "10.0.0.0"}, {"server_id": "10.0.0.2"}]},
        {"super_pod_id": "4", "server_list": [{"server_id": "10.0.0.1"}]},
    ]
    return {
        "status": "completed",
        "server_list": servers,
        "server_count": "3",
        "version": "1.2",
        "super_pod_list": pods,
    }


def test_a_table_of_super_pods_is_read_and_written_back(tmp_path):
    table = read_rank_table(write(super_pods(), tmp_path / "a.json"))
    table.check(6, 3)
    assert [host.super_pod_id for host in table.hosts] == ["1", "4", "1"]
    assert table.hosts[2].devices[1].super_device_id == str(114360329 + 65537 * 5)
    assert table.devices_of(1) == [0, 1]
    write_rank_table(table, tmp_path / "b.json")
    assert read_rank_table(tmp_path / "b.json") == table
    written = json.loads((tmp_path / "b.json").read_text())
    assert (written["version"], written["super_pod_list"]) == ("1.2", super_pods()["super_pod_list"])


def test_tables_of_super_pods_are_merged_but_not_with_others(tmp_path):
    whole = read_rank_table(write(super_pods(), tmp_path / "a.json"))
    single = []
    for one in whole.hosts:
        alone = super_pods() | {"server_count": "1"}
        alone["server_list"] = [server for server in alone["server_list"] if server["server_id"] == one.server_id]
        for i, device in enumerate(alone["server_list"][0]["device"]):
            device["rank_id"] = str(i)
        alone["super_pod_list"] = [{"super_pod_id": one.super_pod_id, "server_list": [{"server_id": one.server_id}]}]
        single.append(read_rank_table(write(alone, tmp_path / "one.json")))
    assert merge(single) == whole
    with pytest.raises(UsageError, match=r"some hosts are in a super pod \(version 1\.2\), others are not \(1\.0\)"):
        merge([whole, number_hosts([host(9, 1)])])


def test_a_device_of_a_super_pod_needs_no_address_of_its_own(tmp_path):
    table = super_pods()
    for server in table["server_list"]:
        for device in server["device"]:
            del device["device_ip"]
    assert read_rank_table(write(table, tmp_path / "a.json")).device_num == 6


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t["super_pod_list"].pop(), "host 10.0.0.1 is in no super pod of super_pod_list"),
        (lambda t: t.update(super_pod_list=[]), "super_pod_list is [], expected a list that is not empty"),
        (lambda t: t["super_pod_list"][1]["server_list"].append({"server_id": "x"}), "names the host x, which server_"),
        (
            lambda t: t["super_pod_list"][1]["server_list"].append({"server_id": "10.0.0.0"}),
            "10.0.0.0 is in super_pod_list",
        ),
        (lambda t: t["super_pod_list"][0].pop("super_pod_id"), "super_pod_list[0].super_pod_id is missing"),
        (
            lambda t: t["super_pod_list"][0]["server_list"][0].clear(),
            "super_pod_list[0].server_list[0].server_id is mis",
        ),
        (lambda t: t["server_list"][0]["device"][0].pop("super_device_id"), "device[0].super_device_id is missing"),
        (
            lambda t: t["server_list"][0]["device"][0].update(super_device_id=7),
            "super_device_id is 7, expected a whole",
        ),
        (
            lambda t: t["server_list"][2]["device"][0].update(
                super_device_id=t["server_list"][0]["device"][0]["super_device_id"]
            ),
            "super_device_id of super pod 1 114360329 is there twice",
        ),
        (lambda t: t["server_list"][0]["device"][0].update(device_ip="x"), 'device_ip is "x", expected an IP address'),
    ],
)
def test_what_is_wrong_in_a_table_of_super_pods(change, message, tmp_path):
    table = super_pods()
    change(table)
    with pytest.raises(UsageError, match=re.escape(message)):
        read_rank_table(write(table, tmp_path / "a.json"))
