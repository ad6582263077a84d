"""HCCL's rank table: which Ascend devices on which hosts are which ranks of a job.

Version 1.2, of Atlas A3, says besides which super pod a host belongs to and which number a device has in it.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path

from src.utils.errors import UsageError
from src.utils.files import is_file, no_file, require_new, write_new_text
from src.utils.outside import open_outside

VERSION, SUPER_POD_VERSION, COMPLETED = "1.0", "1.2", "completed"
MAX_BYTES = 2**22  # 1024 devices take about 150 kB
_ADVICE = "write the table with scripts/hccl_rank_table.py"


@dataclass(frozen=True)
class Device:
    """One device of a host: its physical number there, the address of its own network card, and its rank in the job.

    In a super pod it has a number there, super_device_id, by which the others reach it; an address may then be missing.
    """

    device_id: int
    device_ip: str
    rank_id: int
    super_device_id: str = ""


@dataclass(frozen=True)
class Host:
    """One host, named by its address or another name that no other host has, its devices in order of rank, and the
    super pod it is in, if any.
    """

    server_id: str
    devices: tuple[Device, ...]
    super_pod_id: str = ""


@dataclass(frozen=True)
class RankTable:
    """The hosts of a job in order of their ranks. Raises UsageError when the ranks or addresses contradict each other.

    The ranks are 0 to n-1, those of a host follow each other; no host, no address, in a super pod no super_device_id,
    and on a host no device, is there twice. All hosts are in super pods or none is.
    """

    hosts: tuple[Host, ...]

    def __post_init__(self) -> None:
        if not self.hosts or not all(host.devices for host in self.hosts):
            raise UsageError("a table needs at least one host, and each host at least one device")
        _require_unique("server_id", [host.server_id for host in self.hosts])
        devices = [device for host in self.hosts for device in host.devices]
        _require_unique("device_ip", [device.device_ip for device in devices if device.device_ip])
        if len({bool(host.super_pod_id) for host in self.hosts}) > 1:
            raise UsageError(f"some hosts are in a super pod (version {SUPER_POD_VERSION}), others are not ({VERSION})")
        for pod in {host.super_pod_id for host in self.hosts} - {""}:
            numbers = [d.super_device_id for host in self.hosts if host.super_pod_id == pod for d in host.devices]
            _require_unique(f"super_device_id of super pod {pod}", numbers)
        for host in self.hosts:
            _require_unique(f"device_id of host {host.server_id}", [device.device_id for device in host.devices])
        _require_unique("rank_id", [device.rank_id for device in devices])
        for expected, device in enumerate(sorted(devices, key=lambda device: device.rank_id)):
            if device.rank_id != expected:
                raise UsageError(f"rank_id {expected} is missing; the ranks of {len(devices)} devices count from 0")
        for host in self.hosts:
            ranks = [device.rank_id for device in host.devices]
            if ranks[-1] - ranks[0] != len(ranks) - 1:
                raise UsageError(
                    f"host {host.server_id} has the ranks {_list(ranks)}; those of a host follow each other"
                )

    @property
    def device_num(self) -> int:
        """The number of devices of all hosts: the number of ranks."""
        return sum(len(host.devices) for host in self.hosts)

    def check(self, device_num: int | None = None, node_num: int | None = None) -> None:
        """Raise UsageError unless the table has `device_num` devices (of all hosts together) and `node_num` hosts.

        None asks for nothing.
        """
        for found, asked, what in (
            (self.device_num, device_num, "devices"),
            (len(self.hosts), node_num, "hosts"),
        ):
            if asked not in (None, found):
                raise UsageError(
                    f"the rank table has {found} {what}, {asked} were asked for; "
                    f"ask for {found} or write a table for {asked}"
                )

    def devices_of(self, node_rank: int) -> list[int]:
        """The device ids of host number `node_rank`, counted from 0, in order of rank. Raises UsageError beyond."""
        if not 0 <= node_rank < len(self.hosts):
            raise UsageError(f"the rank table has no host number {node_rank}, only 0 to {len(self.hosts) - 1}")
        return [device.device_id for device in self.hosts[node_rank].devices]

    def to_dict(self) -> dict:
        """As HCCL reads it from JSON: all numbers are strings."""
        servers = [
            {
                "server_id": host.server_id,
                "device": [_device_to_dict(device) for device in host.devices],
                "host_nic_ip": "reserve",  # HCCL does not read it; MindSpore's documentation has it
            }
            for host in self.hosts
        ]
        table = {"version": VERSION, "server_count": str(len(servers)), "server_list": servers, "status": COMPLETED}
        if pods := list(dict.fromkeys(host.super_pod_id for host in self.hosts if host.super_pod_id)):
            table["version"] = SUPER_POD_VERSION
            table["super_pod_list"] = [
                {
                    "super_pod_id": pod,
                    "server_list": [{"server_id": host.server_id} for host in self.hosts if host.super_pod_id == pod],
                }
                for pod in pods
            ]
        return table


def _device_to_dict(device: Device) -> dict[str, str]:
    values = {"device_id": str(device.device_id), "device_ip": device.device_ip, "rank_id": str(device.rank_id)}
    return values | ({"super_device_id": device.super_device_id} if device.super_device_id else {})


def number_hosts(hosts: Sequence[tuple[str, Sequence[tuple[int, str]]]]) -> RankTable:
    """The table of (server_id, its (device_id, device_ip) pairs), ranks counted in this order."""
    numbered, rank = [], 0
    for server_id, devices in hosts:
        numbered.append(Host(server_id, tuple(Device(*device, rank + i) for i, device in enumerate(devices))))
        rank += len(devices)
    return RankTable(tuple(numbered))


def merge(tables: Sequence[RankTable]) -> RankTable:
    """All hosts of `tables`, ranks renumbered in the order given. Raises UsageError for a host given twice."""
    hosts, rank = [], 0
    for host in (host for table in tables for host in table.hosts):
        hosts.append(replace(host, devices=tuple(replace(d, rank_id=rank + i) for i, d in enumerate(host.devices))))
        rank += len(host.devices)
    return RankTable(tuple(hosts))


def write_rank_table(table: RankTable, path: Path) -> None:
    """Write the new file `path`. Raises UsageError when it exists, ReportedError when the disk refuses."""
    require_new(path)
    write_new_text(path, json.dumps(table.to_dict(), indent=2) + "\n")


def read_rank_table(path: Path) -> RankTable:
    """Read and check a table. Raises UsageError that names the file, the place, what is there and what was expected.

    Keys that HCCL's documentation does not know, as cluster managers add them, are left alone.
    """
    try:
        return _table(_read_json(path))
    except UsageError as error:
        raise UsageError(f"{path}: {error}; {_ADVICE}") from error


def _read_json(path: Path) -> object:
    if not is_file(path):
        raise UsageError(f"the rank table {no_file(path)}")
    try:
        with open_outside(path) as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"the rank table cannot be read: {error.strerror}") from error
    if len(text) > MAX_BYTES:
        raise UsageError(f"more than {MAX_BYTES} bytes, which no rank table has")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not JSON: {error}") from error


def _table(values: object) -> RankTable:
    _require(values, lambda v: isinstance(v, dict), "the rank table", "a mapping")
    versions = (VERSION, SUPER_POD_VERSION)
    version = _field(values, "", "version", lambda v: v in versions, " or ".join(f'"{v}"' for v in versions))
    _field(values, "", "status", lambda v: v == COMPLETED, f'"{COMPLETED}"')
    servers = _list_of_mappings(values, "", "server_list")
    _field(values, "", "server_count", lambda v: v == str(len(servers)), f'"{len(servers)}", the length of server_list')
    pods = _super_pods(values) if version == SUPER_POD_VERSION else None
    hosts = [_host(server, f"server_list[{i}].", pods) for i, server in enumerate(servers)]
    if pods and (unknown := set(pods) - {host.server_id for host in hosts}):
        raise UsageError(f"super_pod_list names the host {min(unknown)}, which server_list does not have")
    return RankTable(tuple(sorted(hosts, key=lambda host: host.devices[0].rank_id)))


def _super_pods(values: dict) -> dict[str, str]:
    """The super pod of each host, by their names."""
    pods = {}
    for i, pod in enumerate(_list_of_mappings(values, "", "super_pod_list")):
        place = f"super_pod_list[{i}]."
        name = _field(pod, place, "super_pod_id", is_server_id, "the super pod's name")
        for k, server in enumerate(_list_of_mappings(pod, place, "server_list")):
            host = _field(server, f"{place}server_list[{k}].", "server_id", is_server_id, "a host of server_list")
            if host in pods:
                raise UsageError(f"host {host} is in super_pod_list twice")
            pods[host] = name
    return pods


def _host(server: dict, place: str, pods: dict[str, str] | None) -> Host:
    name = _field(server, place, "server_id", is_server_id, "the host's address or name")
    devices = [
        _device(device, f"{place}device[{i}].", in_super_pod=pods is not None)
        for i, device in enumerate(_list_of_mappings(server, place, "device"))
    ]
    if pods is not None and name not in pods:
        raise UsageError(f"host {name} is in no super pod of super_pod_list, expected one for each host")
    pod = pods[name] if pods is not None else ""
    return Host(name, tuple(sorted(devices, key=lambda device: device.rank_id)), pod)


def _device(device: dict, place: str, *, in_super_pod: bool) -> Device:
    number = "a whole number as a string"
    device_id = int(_field(device, place, "device_id", _is_number, number))
    rank_id = int(_field(device, place, "rank_id", _is_number, number))
    if not in_super_pod:
        return Device(device_id, _field(device, place, "device_ip", is_address, "an IP address"), rank_id)
    ip = _require(device.get("device_ip", ""), lambda v: v == "" or is_address(v), f"{place}device_ip", "an IP address")
    super_device_id = _field(device, place, "super_device_id", _is_long_number, number)
    return Device(device_id, ip, rank_id, super_device_id)


def _list_of_mappings(values: dict, place: str, key: str) -> list[dict]:
    items = _field(values, place, key, lambda v: isinstance(v, list) and v, "a list that is not empty")
    for i, item in enumerate(items):
        _require(item, lambda v: isinstance(v, dict), f"{place}{key}[{i}]", "a mapping")
    return items


def _field(values: dict, place: str, key: str, accepts: Callable[[object], bool], expected: str) -> object:
    if key not in values:
        raise UsageError(f"{place}{key} is missing, expected {expected}")
    return _require(values[key], accepts, f"{place}{key}", expected)


def _require(value: object, accepts: Callable[[object], bool], place: str, expected: str) -> object:
    if not accepts(value):
        raise UsageError(f"{place} is {_shown(value)}, expected {expected}")
    return value


def is_server_id(value: object) -> bool:
    """HCCL takes any name of fewer than 64 characters."""
    return isinstance(value, str) and 0 < len(value) < 64 and value.isprintable() and " " not in value


def is_address(value: object) -> bool:
    """Whether `value` is the text of an IPv4 or IPv6 address."""
    try:
        return isinstance(value, str) and bool(ip_address(value))
    except ValueError:
        return False


def _is_number(value: object) -> bool:
    return _is_long_number(value) and len(value) <= 6


def _is_long_number(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 20


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:60] + "..."


def _require_unique(what: str, values: Sequence[object]) -> None:
    seen = set()
    for value in values:
        if value in seen:
            raise UsageError(f"{what} {value} is there twice")
        seen.add(value)


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
