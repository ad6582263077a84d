"""Mixed precision by cell: master weights stay float32, the named cells compute in float16."""

import mindspore as ms
from mindspore import nn

from src.network.sync_batch_norm import SyncBatchNorm


def resolve_amp_level(level: str, device_target: str) -> str:
    """`auto` is O3 on Ascend, whose cube units are made for float16, and O0 elsewhere."""
    if level != "auto":
        return level
    return "O3" if device_target == "Ascend" else "O0"


def apply_amp_level(network: nn.Cell, level: str) -> None:
    """O0: float32. O2: float16 except batch normalisation. O3: float16 throughout. In place; the loss stays float32."""
    if level == "O0":
        return
    network.to_float(ms.float16)
    if level == "O2":
        for _, cell in network.cells_and_names():
            if isinstance(cell, nn.BatchNorm2d | SyncBatchNorm):
                cell.to_float(ms.float32)
