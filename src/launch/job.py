"""A job on this host, checked as a whole before anything starts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from src.launch.devices import check_devices, check_visible_devices
from src.launch.network import check_meeting_point
from src.launch.rank_table import read_rank_table
from src.launch.settings import Settings, read_settings
from src.model_utils.config import Config, parse
from src.schema.pretrained_names import hub_name
from src.utils.errors import ReportedError, UsageError
from src.utils.files import is_file, is_folder

NO_TABLE = "none"


@dataclass(frozen=True)
class Job:
    """`device_num` ranks of `command`.py on this host, and as many on each other one.

    rank_table and device_ids (this host's part of it): for Ascend with a rank table, else None and empty.
    visible_devices: for GPU, else empty.
    """

    command: str
    target: str
    device_num: int
    flags: tuple[str, ...]
    config: Config
    settings: Settings
    rank_table: Path | None = None
    device_ids: tuple[int, ...] = ()
    visible_devices: str = ""

    @property
    def world_size(self) -> int:
        """The ranks of all hosts together."""
        return self.device_num * self.settings.node_num

    @property
    def ranks(self) -> range:
        """The ranks on this host."""
        first = self.device_num * self.settings.node_rank
        return range(first, first + self.device_num)


def check_job(
    command: str, target: str, device_num: str, devices: str, flags: Sequence[str], environ: Mapping[str, str]
) -> Job:
    """The job, when it can be started as it is asked for.

    devices: the rank table's path or `none` (Ascend), what CUDA_VISIBLE_DEVICES is to be (GPU), or nothing (CPU).
    Raises UsageError and ReportedError.
    """
    if not (device_num.isascii() and device_num.isdecimal() and len(device_num) < 6 and int(device_num) > 0):
        raise UsageError(f"DEVICE_NUM is {device_num!r}, expected how many ranks each host runs, a number from 1")
    number = int(device_num)
    settings = read_settings(environ)
    config = parse(command, flags)
    if not config.is_distributed:
        raise UsageError("found is_distributed 0, with which each rank would run alone; use the script for one device")
    if config.device_target != target:
        raise UsageError(f"found device_target {config.device_target}, but this script is for {target}; use the other")
    table, device_ids = None, ()
    if target == "Ascend" and devices != NO_TABLE:
        table = Path(devices)
        ranks = read_rank_table(table)
        ranks.check(number * settings.node_num, settings.node_num)
        device_ids = tuple(ranks.devices_of(settings.node_rank))
        if len(device_ids) != number:
            raise UsageError(
                f"{table}: its host number {settings.node_rank} has {len(device_ids)} devices, but DEVICE_NUM is "
                f"{number}; each host has to have as many"
            )
    if target == "GPU":
        check_visible_devices(devices, number)
    check_devices(target, number)
    check_meeting_point(
        settings.master_addr,
        settings.master_port,
        is_master=settings.is_master,
        several_hosts=settings.node_num > 1,
    )
    if not config.enable_modelarts:  # what it copies here is not there yet
        _check_paths(config, is_master=settings.is_master)
    return Job(
        command, target, number, tuple(flags), config, settings, table, device_ids, devices if target == "GPU" else ""
    )


def _check_paths(config: Config, *, is_master: bool) -> None:
    """The data and evaluated checkpoints have to be on each host, those that training starts from on the master's."""
    keys = ["train_data_dir", "eval_data_dir"] if config.command == "train" else ["eval_data_dir", "ckpt_files"]
    if config.command == "train" and is_master:
        keys += ["train_pretrained"] + ["resume"] * (config.resume != "auto")
    for key in keys:
        path = getattr(config, key)
        bundled = config.dataset == "digits" and key.endswith("_data_dir")
        named = key == "train_pretrained" and hub_name(path)
        if path and not bundled and not named and not is_file(Path(path)) and not is_folder(Path(path)):
            raise ReportedError(f"{key} {path} does not exist on this host; check the path")
