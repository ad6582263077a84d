"""Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391): where in a picture the evidence for a class lies.

    heat = relu(sum over k of alpha_k A_k),  alpha_k = mean over the pixels of d logit_c / d A_k      (equations 1, 2)

A_k are the last features, behind the last ReLU. What follows them here is a mean and one layer, so that the heat is
that of CAM (Zhou et al. 2016, arXiv:1512.04150) divided by the number of pixels.
"""

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from src.network.densenet import DenseNet
from src.utils.graph_cache import CachedCell, GraphCache
from src.utils.heat import heat_of


class FeaturesAndLogits(CachedCell):
    """Images (B, C, S, S) float32 -> the last features (B, K, h, w) and the logits (B, num_classes), both float32.

    network: of `build_network` with keeps_features. temperature: what the logits are divided by.
    """

    def __init__(self, network: DenseNet, temperature: float = 1.0) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        self.temperature = temperature
        self.set_train(False)

    def construct(self, images):
        """See the class."""
        features = self.network.backbone(images)
        logits = self.network.head(features).astype(ms.float32)
        return features.astype(ms.float32), logits if self.temperature == 1 else logits * (1 / self.temperature)


class _ClassScores(nn.Cell):
    """The sum of one logit an image: features (B, K, h, w), one-hot rows of classes (B, num_classes) -> a number."""

    def __init__(self, head: nn.Cell) -> None:
        super().__init__(auto_prefix=False)
        self.head = head

    def construct(self, features, chosen):
        """See the class."""
        return (self.head(features) * chosen).sum()


class _Gradient(CachedCell):
    def __init__(self, head: nn.Cell) -> None:
        super().__init__(auto_prefix=False)
        self.gradient = ms.grad(_ClassScores(head))
        self.set_train(False)

    def construct(self, features, chosen):
        return self.gradient(features, chosen)


class GradCam:
    """The heat maps of a network, as a function of images and classes; of its own logits, whatever the temperature."""

    def __init__(self, network: DenseNet, temperature: float = 1.0, graph_cache: GraphCache | None = None) -> None:
        self._forward = FeaturesAndLogits(network, temperature)
        self._gradient = _Gradient(network.head)
        # Not the gradient's: small as it is, MindSpore 2.10 at times gives NaN for one that it has loaded from a cache.
        self._forward.graph_cache = graph_cache

    @property
    def network(self) -> DenseNet:
        """The network itself."""
        return self._forward.network

    @property
    def temperature(self) -> float:
        """What its logits are divided by."""
        return self._forward.temperature

    def logits(self, images: np.ndarray) -> np.ndarray:
        """The logits alone, from the same compiled graph: images (B, C, S, S) -> (B, num_classes), both float32."""
        return self._forward(Tensor(images))[1].asnumpy()

    def __call__(self, images: np.ndarray, classes: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the logits (B, num_classes), and the heat (B, h, w) float32, from 0, of one class an image.

        images: (B, C, S, S) float32. classes: (B,) integers; None: the class of each image's highest logit.
        """
        features, logits = self._forward(Tensor(images))
        # Copied before the other graph runs: what MindSpore gives out is its own memory.
        values, answers = features.asnumpy().copy(), logits.asnumpy().copy()
        classes = answers.argmax(1) if classes is None else np.asarray(classes)
        chosen = np.eye(answers.shape[1], dtype=np.float32)[classes]
        gradient = self._gradient(Tensor(values), Tensor(chosen)).asnumpy()
        return answers, heat_of(values, gradient.mean((2, 3)))
