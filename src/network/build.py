"""From a description to the network that a command runs: kernels or plain cells, precision, recomputation, ranks."""

from src.network.architecture import Architecture
from src.network.densenet import DenseNet
from src.network.mixed_precision import apply_amp_level
from src.ops.select import select_kernels


def build_network(
    arch: Architecture,
    *,
    device: str,
    cpu_kernels: str,
    cpu_precision: str,
    amp_level: str = "O0",
    recompute: bool = False,
    seed: int = 0,
    norm_ranks: int = 1,
    is_master: bool = True,
    keeps_features: bool = False,
    frozen_blocks: int = 0,
) -> DenseNet:
    """The network of `arch` for `device` (Ascend, GPU or CPU), with initial weights of `seed`.

    cpu_kernels, cpu_precision: see `select_kernels`, which logs on the master; what was chosen is `DenseNet.kernels`.
    amp_level: O0, O2 or O3. recompute, norm_ranks, keeps_features, frozen_blocks: see `DenseNet`. Raises ReportedError
    when kernels that were asked for cannot be used.
    """
    kernels = select_kernels(
        cpu_kernels,
        cpu_precision,
        device=device,
        amp_level=amp_level,
        norm_ranks=norm_ranks,
        is_master=is_master,
    )
    network = DenseNet(
        arch,
        recompute=recompute,
        seed=seed,
        norm_ranks=norm_ranks,
        kernels=kernels.library,
        kernel_precision=kernels.precision,
        keeps_features=keeps_features,
        frozen_blocks=frozen_blocks,
    )
    apply_amp_level(network, amp_level)
    return network
