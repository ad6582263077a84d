"""What test_recompute.py runs in a process: it prints the most memory that a training step took."""

import sys

import mindspore as ms
import numpy as np

from src.losses.crossentropy import CrossEntropy
from src.network.densenet import DenseNet, architecture


class LossAndGradients(ms.nn.Cell):
    """(images, labels) -> the loss, and the gradients of the trainable parameters."""

    def __init__(self, network):
        super().__init__(auto_prefix=False)
        self.network = network
        self.loss = CrossEntropy()
        self.gradients = ms.value_and_grad(self.forward, None, network.trainable_params())

    def forward(self, x, labels):
        return self.loss(self.network(x), labels)

    def construct(self, x, labels):
        return self.gradients(x, labels)


def main(mode: str) -> None:
    """Take a step, with "recompute" or "plain"."""
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    arch = architecture("densenet100", 10, block_config=(16,))
    step = LossAndGradients(DenseNet(arch, recompute=mode == "recompute").set_train())
    step(ms.Tensor(np.zeros((64, 3, 32, 32), np.float32)), ms.Tensor(np.zeros(64, np.int32)))[0].asnumpy()
    # Not ru_maxrss, which in a child begins with its parent's.
    with open("/proc/self/status") as status:  # noqa: PTH123
        print(next(line.split()[1] for line in status if line.startswith("VmHWM")))


if __name__ == "__main__":
    main(*sys.argv[1:])
