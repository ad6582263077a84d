"""Whether a network computes with the C++ kernels or as the plain one: what was asked for, and what can be."""

from dataclasses import dataclass
from pathlib import Path

from src.ops.build import Kernels, kernels
from src.ops.limits import lacking
from src.utils.errors import ReportedError
from src.utils.logging import get_logger


@dataclass(frozen=True)
class Selection:
    """What `DenseNet` takes as kernels and kernel_precision: the path of the library, None for the plain network, and
    the numbers that it multiplies.
    """

    library: str | None = None
    precision: str = "fp32"


PLAIN = Selection()


def select_kernels(
    wanted: str,
    precision: str,
    *,
    device: str,
    amp_level: str = "O0",
    norm_ranks: int = 1,
    is_master: bool = True,
) -> Selection:
    """What `cpu_kernels` (auto, on, off) and `cpu_precision` (fp32, bf16) come to for a network; compiles if need be.

    On a CPU the master logs in one line what is used and why, unless the kernels are off. Raises ReportedError when
    they are on, or bf16 is asked for, and they cannot be used.
    """
    if wanted == "off":
        return PLAIN
    _, missing = lacking(amp_level=amp_level, norm_ranks=norm_ranks)
    missing = f"the device is {device}" if device != "CPU" else missing
    found = Kernels(None, None, f"the C++ kernels are not used: {missing}") if missing else kernels()
    if found.library is None:
        if wanted == "on" or precision == "bf16":
            raise ReportedError(
                f"cpu_kernels is {wanted} and cpu_precision {precision}, but {found.reason}; "
                "--cpu_kernels auto --cpu_precision fp32 does without them"
            )
        if is_master and device == "CPU":
            more = "" if missing else "; python -m src.doctor says what is in the way"
            get_logger().info("%s; the plain network is slower but gives the same results%s", found.reason, more)
        return PLAIN
    if precision == "bf16" and not found.has_bf16:
        raise ReportedError(
            "cpu_precision is bf16, which takes a CPU with AMX or AVX512_BF16, but the C++ kernels are compiled for "
            f"{found.instruction_set}; give --cpu_precision fp32"
        )
    if is_master:
        get_logger().info("%s; %s, %s", found.reason, precision, found.library)
    return Selection(str(found.library), precision)


def arithmetic_of(library: str | None) -> str:
    """What a network computes with, as a checkpoint keeps it: the instruction set of the kernels in `library`, a
    `Selection`'s; "plain" without them.
    """
    return Path(library).parent.name.rpartition("-")[0] if library else "plain"


def changed_arithmetic(before: object, now: str) -> str:
    """A sentence for a run that goes on with another arithmetic than it had, as its checkpoint says; else empty."""
    if not isinstance(before, str) or before == now:
        return ""

    def words(arithmetic: str) -> str:
        return "the plain network" if arithmetic == "plain" else f"the C++ kernels for {arithmetic}"

    slower = ", which is slower" if now == "plain" else ""
    return (
        f"this run was trained with {words(before)} and goes on with {words(now)}{slower}: its sums are rounded in "
        "another order from here on"
    )
