"""Progressive sizes: training begins with small pictures, which cost less, and ends with those of the input's size."""

from collections.abc import Sequence

from src.network.architecture import Architecture
from src.utils.errors import UsageError


def size_of_epoch(sizes: Sequence[int], epoch: int, max_epoch: int) -> int:
    """The pictures' size in an epoch, from 0, of max_epoch: `sizes` one after another over equal parts of the epochs.

    From max_epoch on the last of them; 0 when there are none.
    """
    return sizes[min(epoch * len(sizes) // max_epoch, len(sizes) - 1)] if sizes else 0


def check_sizes(sizes: Sequence[int], image_size: int, arch: Architecture, batch_size: int) -> None:
    """Raise UsageError unless training ends at image_size, and ReportedError for a size that is too small for `arch`.

    batch_size: images that are normalised together, see `Architecture.check_batch`.
    """
    if sizes and sizes[-1] != image_size:
        raise UsageError(
            f"found progressive_size {','.join(map(str, sizes))} with image_size {image_size}, expected image_size as "
            "the last size, with which training ends; correct one of them"
        )
    for size in sizes:
        arch.check_batch(size, batch_size)
