"""The weights' average on a CPU as a single operator, see `src/optimizers/average.py`."""

from mindspore import nn

from src.ops.dense_ops import floats, operator


class AverageUpdate(nn.Cell):
    """Moves all averages towards what they follow, in place and in one pass; returns a value to wait for."""

    def __init__(self, library: str) -> None:
        super().__init__()
        self.update = operator(library, "average_update", lambda *_: [1], floats(1))

    def construct(self, share, averages, values):
        """averages, values: one tensor each for a parameter; share: () float32."""
        return self.update(share, *averages, *values)
