"""Setting parameters of a network that is compiled already."""

import numpy as np
from mindspore import Parameter, Tensor, ops


def overwrite(parameter: Parameter, value: np.ndarray) -> None:
    """Give `parameter` a value in the memory that it has.

    `set_data` gives it other memory, which a compiled graph does not notice of a parameter that is used in a branch of
    it alone, as what is updated after the last micro-batch (MindSpore 2.10).
    """
    ops.assign(parameter, Tensor(value, parameter.dtype))
