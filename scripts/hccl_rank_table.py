"""Write and check HCCL rank tables, which say which Ascend devices on which hosts are which ranks of a job.

On each host, with the addresses of its devices from /etc/hccn.conf:
python scripts/hccl_rank_table.py write host0.json --server_id 10.0.0.1
python scripts/hccl_rank_table.py write host0.json --server_id 10.0.0.1 --devices 0-3 --hccn_conf /etc/hccn.conf
python scripts/hccl_rank_table.py write host1.json --server_id 10.0.0.2 --devices 0,1 --device_ips 10.1.0.1,10.1.0.2

Then one table of all hosts, their ranks counted in the order given, to be copied to each of them:
python scripts/hccl_rank_table.py merge job.json host0.json host1.json
python scripts/hccl_rank_table.py check job.json --device_num 16 --node_num 2

server_id is the host's address. device_num counts the devices of all hosts. A file that exists is not overwritten.
"""

import re
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from src.launch.rank_table import (
    RankTable,
    is_address,
    is_server_id,
    merge,
    number_hosts,
    read_rank_table,
    write_rank_table,
)
from src.utils.arguments import Parser
from src.utils.errors import UsageError, run
from src.utils.files import is_file, no_file
from src.utils.outside import read_outside

NAME = "python scripts/hccl_rank_table.py"
USAGE = {
    "write": "OUT --server_id ADDRESS [--devices 0-7] [--hccn_conf FILE | --device_ips IP,IP,...]",
    "merge": "OUT HOST_FILE...",
    "check": "FILE [--device_num N] [--node_num M]",
}
MAX_CONF_BYTES = 2**20


def main(argv: Sequence[str]) -> None:
    """Do what the command line `argv` says and print a line for each host."""
    asked = parse(argv)
    if asked.command == "check":
        table = read_rank_table(asked.file)
        table.check(asked.device_num, asked.node_num)
    else:
        table = merge([read_rank_table(path) for path in asked.host_files]) if asked.command == "merge" else new(asked)
        write_rank_table(table, asked.file)
    print("\n".join(lines(table)))


def parse(argv: Sequence[str]) -> Namespace:
    """The command line, by name. Raises UsageError."""
    parser = Parser(f"{NAME} write|merge|check ...", __doc__)
    commands = parser.add_subparsers(dest="command", parser_class=lambda usage, **_: Parser(usage, __doc__))
    commands.required = True
    write, merged, check = (commands.add_parser(name, usage=f"{NAME} {name} {USAGE[name]}") for name in USAGE)
    for command, metavar in ((write, "OUT"), (merged, "OUT"), (check, "FILE")):
        command.add_argument("file", type=Path, metavar=metavar)
    write.add_argument("--server_id", required=True)
    write.add_argument("--devices", default="0-7")
    addresses = write.add_mutually_exclusive_group()
    addresses.add_argument("--hccn_conf", type=Path, default=Path("/etc/hccn.conf"))
    addresses.add_argument("--device_ips")
    merged.add_argument("host_files", type=Path, nargs="+", metavar="HOST_FILE")
    check.add_argument("--device_num", type=int)
    check.add_argument("--node_num", type=int)
    return parser.parse_args(argv)


def new(asked: Namespace) -> RankTable:
    """The table of one host. Raises UsageError for values that are none."""
    if not is_server_id(asked.server_id):
        raise UsageError(f"--server_id is {asked.server_id!r:.80}, expected the host's address or name")
    devices = numbers(asked.devices)
    if asked.device_ips is None:
        known = addresses_in(asked.hccn_conf)
        missing = [device for device in devices if device not in known]
        if missing:
            raise UsageError(
                f"{asked.hccn_conf} has no line address_{missing[0]}=; it has the devices "
                f"{', '.join(map(str, known)) or '(none)'}: choose among them with --devices"
            )
        ips = [known[device] for device in devices]
    else:
        ips = asked.device_ips.split(",")
        if len(ips) != len(devices):
            raise UsageError(f"--device_ips has {len(ips)} addresses for {len(devices)} devices; give one for each")
        for ip in ips:
            if not is_address(ip):
                raise UsageError(f"--device_ips holds {ip!r:.80}, expected IP addresses with commas between them")
    return number_hosts([(asked.server_id, list(zip(devices, ips, strict=True)))])


def numbers(text: str) -> list[int]:
    """`0-3` or `0,2,5-7` as numbers. Raises UsageError for anything else."""
    found = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", part, re.ASCII)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last:
            raise UsageError(f"--devices is {text!r:.80}, expected numbers like 0-7 or 0,2,5-7")
        found += range(first, last + 1)
    return found


def addresses_in(conf: Path) -> dict[int, str]:
    """The device addresses of a hccn.conf, from its lines `address_N=IP`, by device number."""
    if not is_file(conf):
        raise UsageError(f"{conf} {no_file(conf)}; name the file with --hccn_conf, or the addresses with --device_ips")
    try:
        text = read_outside(conf, MAX_CONF_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{conf} cannot be read as text: {error}; give the addresses with --device_ips") from error
    found = {}
    for place, line in enumerate(text.splitlines(), 1):
        match = re.fullmatch(r"\s*address_(\d{1,3})\s*=\s*(.*?)\s*", line, re.ASCII)
        if match:
            if not is_address(match[2]):
                raise UsageError(f"{conf}, line {place}: {match[2]!r:.80} is no IP address; repair the line")
            if int(match[1]) in found:
                raise UsageError(f"{conf}, line {place}: address_{match[1]} is there twice; remove one of them")
            found[int(match[1])] = match[2]
    return found


def lines(table: RankTable) -> list[str]:
    """A line for each host."""
    return [
        f"host {number}: {host.server_id}, ranks {host.devices[0].rank_id}-{host.devices[-1].rank_id}, devices "
        + ",".join(str(device.device_id) for device in host.devices)
        for number, host in enumerate(table.hosts)
    ]


if __name__ == "__main__":
    sys.exit(run(main))
