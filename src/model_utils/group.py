"""The group of ranks that a command belongs to: joining the launcher's, and what its ranks do together."""

import contextlib
import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import communication, nn, ops

from src.model_utils.joining import check_meeting_point, waiting_for, why_not_joined
from src.model_utils.local_adapter import launcher_place
from src.model_utils.peers import watch_peers
from src.utils.errors import ReportedError, UsageError
from src.utils.logging import get_logger
from src.utils.parameters import overwrite
from src.utils.signals import interrupts_end_at_once

_LIMB = 4096  # counts are summed as two float32 digits of this base: exact up to 2**24 * 4096
# Lengths below are sent as these: each length is a graph, and compiling one takes longer than many a training step.
_FEWEST_COUNTS, _FEWEST_BYTES = 64, 1024
_COLLECTIVE_TIMEOUT = 1800  # seconds; MindSpore's own 30 would end a job whose ranks compile or read at unequal speed


class _AllReduceSum(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.all_reduce = ops.AllReduce(ops.ReduceOp.SUM)

    def construct(self, values: ms.Tensor) -> ms.Tensor:
        return self.all_reduce(values)


class _Broadcast(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.broadcast = ops.Broadcast(0)

    def construct(self, values: ms.Tensor) -> ms.Tensor:
        return self.broadcast((values,))[0]


@functools.cache
def _all_reduce_sum() -> nn.Cell:
    """The one of this process: MindSpore compiles each cell for itself, and a group is asked after every step."""
    return _AllReduceSum()


@functools.cache
def _broadcast() -> nn.Cell:
    return _Broadcast()


@dataclass(frozen=True)
class Group:
    """The ranks that work together. One rank of one when the command runs alone.

    All methods are collective: every rank has to call them, in the same order.
    """

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
        padded = np.zeros(max(len(counts), _FEWEST_COUNTS), np.int64)
        padded[: len(counts)] = counts
        digits = np.stack(np.divmod(padded, _LIMB)).astype(np.float32)
        high, low = _all_reduce_sum()(ms.Tensor(digits)).asnumpy().astype(np.int64)
        return (high * _LIMB + low)[: len(counts)]

    def gather_counts(self, rows: np.ndarray) -> np.ndarray:
        """The `rows`, non-negative int64 (n, k), of all ranks, one rank's after another's; n may differ, k may not."""
        if self.world_size == 1:
            return rows
        lengths = np.zeros(self.world_size, np.int64)
        lengths[self.rank] = len(rows)
        ends = np.cumsum(self.sum_counts(lengths))
        gathered = np.zeros((ends[-1], rows.shape[1]), np.int64)
        gathered[ends[self.rank] - len(rows) : ends[self.rank]] = rows
        return self.sum_counts(gathered.ravel()).reshape(gathered.shape)

    def mean(self, values: np.ndarray) -> np.ndarray:
        """The mean over the ranks of `values`, (n,) float32; the same bits on every rank."""
        if self.world_size == 1:
            return values
        return _all_reduce_sum()(ms.Tensor(values)).asnumpy() / np.float32(self.world_size)

    def share(self, values: np.ndarray) -> np.ndarray:
        """The master's `values`, (n,) of any 4-byte type, on every rank, bit for bit."""
        if self.world_size == 1:
            return values
        return _broadcast()(ms.Tensor(values.view(np.float32))).asnumpy().view(values.dtype)

    def share_parameters(self, parameters: Sequence[ms.Parameter], *, in_use: bool = False) -> None:
        """Set `parameters`, all of 4-byte types, to the master's. in_use: a compiled graph changes them."""
        if self.world_size == 1 or not parameters:
            return
        bits = self.share(np.concatenate([p.asnumpy().ravel().view(np.float32) for p in parameters]))
        ends = np.cumsum([p.size for p in parameters])
        for parameter, part in zip(parameters, np.split(bits, ends[:-1]), strict=True):
            value = part.view(parameter.asnumpy().dtype).reshape(parameter.shape)
            if in_use:
                overwrite(parameter, value)
            else:
                parameter.set_data(ms.Tensor(value, parameter.dtype))

    def from_master(self, make: Callable[[], str]) -> str:
        """The text that `make` returns on the master, which alone calls it; on every rank.

        Raises on every rank the ReportedError that it raises there, so that none waits for the others in vain.
        """
        if self.world_size == 1:
            return make()
        error, text = None, ""
        if self.is_master:
            try:
                text = f"0{make()}"
            except ReportedError as found:
                error, text = found, f"{found.exit_status}{found}"
        code = np.frombuffer(text.encode(), np.uint8).astype(np.int32)
        size = int(self.sum_counts(np.array([len(code)], np.int64))[0])
        sent = np.zeros(max(1 << (size - 1).bit_length(), _FEWEST_BYTES), np.int32)
        sent[: len(code)] = code
        text = bytes(self.share(sent)[:size].tolist()).decode()
        if error:
            raise error
        if text[0] != "0":
            raise {"1": ReportedError, "2": UsageError}[text[0]](text[1:])
        return text[1:]

    def any(self, flag: int) -> int:
        """The largest `flag` of all ranks (small non-negative integers; 0 when none is set)."""
        if self.world_size == 1:
            return flag
        one_hot = np.zeros(64, np.int64)
        one_hot[int(flag)] = 1  # a bool would be a mask
        return int(np.flatnonzero(self.sum_counts(one_hot)).max())

    def wait(self) -> None:
        """Return when every rank has come here."""
        self.any(0)


ALONE = Group()


def _keep_to(cores: Sequence[int]) -> None:
    """Have all threads of this process, and those that they start, run on `cores` only."""
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # it has ended
            os.sched_setaffinity(int(thread.name), cores)


def join_group(is_distributed: int, rank: int, group_size: int) -> tuple[Group, str]:
    """Join the launcher's group and return it with one sentence for the log.

    With `is_distributed` 0, or without a launcher, the process runs stand-alone. `rank` and `group_size` state what
    the caller expects: 0 and 1 expect nothing. Raises UsageError when they contradict the launcher, ReportedError
    when the group cannot be formed.
    """
    place = launcher_place()
    if is_distributed and place.launched:
        os.environ.setdefault("MS_CPU_COMM_OP_TIMEOUT", str(_COLLECTIVE_TIMEOUT))
        check_meeting_point()
        if not place.status_dir:  # this project's launcher has said it
            get_logger().info(waiting_for(place))
        try:
            with interrupts_end_at_once():
                communication.init()
        except (RuntimeError, ValueError) as error:
            raise ReportedError(why_not_joined(place, str(error))) from error
        if place.cores:
            # Not before: on one core MindSpore's threads keep each other from connecting, for up to minutes.
            _keep_to(place.cores)
        group = Group(communication.get_rank(), communication.get_group_size())
        if group.world_size > 1:
            ms.set_auto_parallel_context(parallel_mode=ms.ParallelMode.DATA_PARALLEL, gradients_mean=True)
            watch_peers(group.rank, group.from_master)
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
