"""The device a command runs on and the group of ranks it belongs to."""

import contextlib
import functools
import io
import logging
from dataclasses import dataclass

import mindspore as ms
import numpy as np
from mindspore import communication, nn, ops

from src.model_utils.local_adapter import launcher_place
from src.utils.errors import ReportedError, UsageError

_PREFERENCE = ("Ascend", "GPU", "CPU")
_LIMB = 4096  # counts are summed as two float32 digits of this base: exact up to 2**24 * 4096


def set_up_device(target: str, device_id: int, *, deterministic: bool) -> str:
    """Point MindSpore at a device, in graph mode, and return its kind.

    `target` is Ascend, GPU, CPU, or auto for the first of these that is there. Raises ReportedError when the asked-for
    device is not: there is no fallback.
    """
    if target == "auto":
        target = next(kind for kind in _PREFERENCE if _is_available(kind))
    elif not _is_available(target):
        here = [kind for kind in _PREFERENCE if _is_available(kind)]
        raise ReportedError(
            f"device_target is {target}, but this MindSpore finds only {', '.join(here)} here; "
            f"use --device_target {here[0]} or install the {target} driver and MindSpore for it"
        )
    ms.set_context(mode=ms.GRAPH_MODE)
    try:
        ms.set_device(target, device_id)
    except (RuntimeError, ValueError) as error:
        raise ReportedError(f"{target} device {device_id} cannot be used: {str(error).splitlines()[0]}") from error
    _set_deterministic(deterministic)
    return target


@functools.cache
def _set_deterministic(deterministic: bool) -> None:
    ms.set_deterministic(deterministic)  # raises when called again, even with the same value


def _is_available(kind: str) -> bool:
    loggers = [logging.getLogger(name) for name in logging.root.manager.loggerDict if name.split(".")[0] == "ME"]
    for logger in loggers:  # it explains at length, as a warning, why a device that nobody asked for is not there
        logger.disabled = True
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return bool(ms.hal.is_available(kind))
    finally:
        for logger in loggers:
            logger.disabled = False


class _AllReduceSum(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.all_reduce = ops.AllReduce(ops.ReduceOp.SUM)

    def construct(self, values: ms.Tensor) -> ms.Tensor:
        return self.all_reduce(values)


@dataclass(frozen=True)
class Group:
    """The ranks that work together. One rank of one when the command runs alone."""

    rank: int = 0
    world_size: int = 1

    @property
    def is_master(self) -> bool:
        """Rank 0 logs results and writes what is written once."""
        return self.rank == 0

    def sum_counts(self, counts: np.ndarray) -> np.ndarray:
        """Sum non-negative int64 `counts` (n,) over the ranks, exactly; every rank gets the sum.

        The CPU collective adds float32 only, so a count travels as two digits of base 4096.
        """
        if self.world_size == 1:
            return counts
        digits = np.stack(np.divmod(counts, _LIMB)).astype(np.float32)
        high, low = _AllReduceSum()(ms.Tensor(digits)).asnumpy().astype(np.int64)
        return high * _LIMB + low

    def share_array(self, values: np.ndarray) -> np.ndarray:
        """The master's `values`, (n,) float32, on every rank."""
        if self.world_size == 1:
            return values
        return _AllReduceSum()(ms.Tensor(values if self.is_master else np.zeros_like(values))).asnumpy()

    def share_text(self, text: str) -> str:
        """The master's `text` on every rank (up to 256 bytes)."""
        if self.world_size == 1:
            return text
        codes = np.zeros(256, np.int64)
        if self.is_master:
            encoded = text.encode()
            codes[: len(encoded)] = list(encoded)
        return bytes(self.sum_counts(codes).tolist()).rstrip(b"\0").decode()

    def any(self, flag: int) -> int:
        """The largest `flag` of all ranks (small non-negative integers; 0 when none is set)."""
        if self.world_size == 1:
            return flag
        one_hot = np.zeros(64, np.int64)
        one_hot[flag] = 1
        return int(np.flatnonzero(self.sum_counts(one_hot)).max())


ALONE = Group()


def join_group(is_distributed: int, rank: int, group_size: int) -> tuple[Group, str]:
    """Join the launcher's group and return it with one sentence for the log.

    With `is_distributed` 0, or without a launcher, the process runs stand-alone. `rank` and `group_size` state what
    the caller expects: 0 and 1 expect nothing. Raises UsageError when they contradict the launcher, ReportedError
    when the group cannot be formed.
    """
    place = launcher_place()
    if is_distributed and place.launched:
        try:
            communication.init()
        except (RuntimeError, ValueError) as error:
            raise ReportedError(f"cannot join the launcher's group: {str(error).splitlines()[0]}") from error
        group = Group(communication.get_rank(), communication.get_group_size())
        if group.world_size > 1:
            ms.set_auto_parallel_context(
                parallel_mode=ms.ParallelMode.DATA_PARALLEL, gradients_mean=True, parameter_broadcast=True
            )
        sentence = f"joined the launcher's group as rank {group.rank} of {group.world_size}"
    else:
        group = ALONE
        sentence = "running stand-alone: " + (
            "is_distributed is 0" if not is_distributed else "no launcher started this process"
        )
    if group_size not in (1, group.world_size) or rank not in (0, group.rank):
        raise UsageError(
            f"rank {rank} of group_size {group_size} was asked for, but this process is rank {group.rank} of "
            f"{group.world_size}; the launcher (msrun) decides both, so leave these flags out"
        )
    return group, sentence
