"""DenseNet's forward pass in evaluation mode, written down once more in numpy and float64, from the paper."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def windows(x: np.ndarray, size: int, stride: int) -> np.ndarray:
    """(N, C, H, W) -> (N, C, h, w, size, size)."""
    return sliding_window_view(x, (size, size), axis=(2, 3))[:, :, ::stride, ::stride]


def pad(x: np.ndarray, before: int, after: int, value: float) -> np.ndarray:
    return np.pad(x, ((0, 0), (0, 0), (before, after), (before, after)), constant_values=value)


def conv(x: np.ndarray, weight: np.ndarray, stride: int = 1) -> np.ndarray:
    size = weight.shape[-1]
    return np.einsum("nchwij,ocij->nohw", windows(pad(x, size // 2, size // 2, 0), size, stride), weight)


def forward(parameters: dict[str, np.ndarray], arch, images: np.ndarray) -> np.ndarray:
    """Logits (N, num_classes) of square `images`, which have even sides wherever a pool has 'same' padding."""
    p = {name: value.astype(np.float64) for name, value in parameters.items()}

    def norm_relu(x, name):
        scale = p[name + ".gamma"] / np.sqrt(p[name + ".moving_variance"] + 1e-5)
        shift = p[name + ".beta"] - p[name + ".moving_mean"] * scale
        return np.maximum(x * scale[:, None, None] + shift[:, None, None], 0)

    root = "backbone.features."
    x = conv(images.astype(np.float64), p[root + "conv0.weight"], 2 if arch.stem == "conv7x7" else 1)
    x = norm_relu(x, root + "norm0")
    if arch.stem == "conv7x7":
        before = 1 if arch.stem_pool == "pad" else 0
        x = windows(pad(x, before, 1, -np.inf), 3, 2).max((4, 5))
    for block, layers in enumerate(arch.block_config, start=1):
        for i in range(layers):
            layer = f"{root}denseblock{block}.cell_list.{i}."
            y = conv(norm_relu(x, layer + "norm1"), p[layer + "conv1.weight"])
            y = conv(norm_relu(y, layer + "norm2"), p[layer + "conv2.weight"])
            x = np.concatenate((x, y), axis=1)
        if block < len(arch.block_config):
            transition = f"{root}transition{block}.features."
            x = conv(norm_relu(x, transition + "norm"), p[transition + "conv.weight"])
            x = windows(x, 2, 2)
            x = x.mean((4, 5)) if arch.transition_pool == "avg" else x.max((4, 5))
    x = norm_relu(x, root + "norm5").mean((2, 3))
    return x @ p["head.fc.weight"].T + p["head.fc.bias"]
