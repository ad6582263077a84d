"""The CPU engine's network in NumPy, from the tensors of its file: float32, or INT8 with the same rounding."""

import numpy as np


def convolved(x, weights, step=1):
    """x: (N, C, H, W), weights: (O, C, k, k), zeros around; exact for integers. float64."""
    kernel = weights.shape[2]
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), *[(kernel // 2,) * 2] * 2))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), (2, 3))[:, :, ::step, ::step]
    return np.einsum("nchwij,ocij->nohw", windows, weights.astype(np.float64), optimize=True)


def logits_of(tensors, images, blocks, seen=None):
    """Logits (N, classes) of a network with a 3x3 stem; into `seen` the input of each convolution, by its weights."""

    def affine(x, name):
        scale = tensors.get(f"{name}.scale", np.ones(1, np.float32)).astype(np.float64)[:, None, None]
        return (x * scale + tensors[f"{name}.offset"].astype(np.float64)[:, None, None]).astype(np.float32)

    def activations(x):
        return np.maximum(x, 0)

    def conv(x, name, behind=None):
        """Of activations; `behind`: the name of the scale and offset that INT8 has there."""
        weights = tensors[f"{name}.weight"]
        if seen is not None:
            seen[f"{name}.weight"] = x
        if weights.dtype == np.int8:
            sums = convolved(np.minimum(np.rint(x), 255), weights).astype(np.float32)
            return affine(sums, behind or name)
        made = convolved(x, weights).astype(np.float32)
        return affine(made, behind) if behind else made

    features = "backbone.features"
    x = convolved(images, tensors[f"{features}.conv0.weight"]).astype(np.float32)
    x = activations(affine(x, f"{features}.norm0"))
    for block, layers in enumerate(blocks, 1):
        for i in range(layers):
            layer = f"{features}.denseblock{block}.cell_list.{i}"
            narrow = conv(activations(affine(x, f"{layer}.norm1")), f"{layer}.conv1", f"{layer}.norm2")
            x = np.concatenate([x, conv(activations(narrow), f"{layer}.conv2")], axis=1)
        if block < len(blocks):
            transition = f"{features}.transition{block}.features"
            y = activations(affine(x, f"{transition}.norm"))
            y = y[:, :, : y.shape[2] // 2 * 2, : y.shape[3] // 2 * 2]
            pooled = (y[:, :, ::2, ::2] + y[:, :, ::2, 1::2]) + (y[:, :, 1::2, ::2] + y[:, :, 1::2, 1::2])
            x = conv(pooled * np.float32(0.25), f"{transition}.conv")
    means = activations(affine(x, f"{features}.norm5")).mean((2, 3))
    return means @ tensors["head.fc.weight"].T.astype(np.float64) + tensors["head.fc.bias"]
