"""PyTorch's side of test_torch_parity.py, which imports this once it runs: collecting it needs no PyTorch."""

import numpy as np
import torch
from torch.nn import functional

from scripts.benchmarks.torchvision_beside_cpu import torchvision

torch.set_num_threads(1)  # its idle threads would spin against MindSpore's

__all__ = ["gradients", "logits", "random_images", "randomised", "torchvision", "without_kinks"]


def randomised(model: torch.nn.Module) -> torch.nn.Module:
    """The model with normalisations that are not the identity, so that a comparison sees them."""
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 2)
            torch.nn.init.normal_(module.bias, 0, 0.5)
            module.running_mean.normal_(0, 0.5)
            module.running_var.uniform_(0.5, 2)
        elif isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.bias)
    return model


def random_images(model: torch.nn.Module, count: int, size: int) -> torch.Tensor:
    """Images (count, 3, size, size) for which the stem's max pool has no near ties in training mode.

    Where the two largest values of a window are closer than the rounding, the frameworks may send the gradient to
    different places.
    """
    random = np.random.default_rng(0)
    stem = torch.nn.Sequential(model.features.conv0, model.features.norm0)
    while True:
        images = torch.from_numpy(random.standard_normal((count, 3, size, size), np.float32))
        with torch.no_grad():
            x = functional.batch_norm(stem[0](images), None, None, stem[1].weight, stem[1].bias, training=True)
        padded = functional.pad(x, (1, 1, 1, 1), value=-torch.inf)
        largest = padded.unfold(2, 3, 2).unfold(3, 3, 2).flatten(4).topk(2).values
        if (largest[..., 0] - largest[..., 1]).min() > 5e-6:
            return images


def without_kinks(model: torch.nn.Module, images: torch.Tensor) -> torch.nn.Module:
    """The model with betas such that no input of a ReLU is near zero in training mode.

    A ReLU's derivative jumps there. Of a million random inputs some are closer to zero than the rounding, and a single
    one that falls on the other side moves gradients by a percent: PyTorch's own differ as much between float32 and
    float64. Each beta is therefore moved to the widest gap among the middle half of its channel's values.
    """

    def to_widest_gap(norm, _, output):
        values = output.transpose(0, 1).flatten(1).sort().values
        quarter = values.shape[1] // 4
        values = values[:, quarter:-quarter]
        widest = values.diff().argmax(1, keepdim=True)
        middle = (values.gather(1, widest) + values.gather(1, widest + 1))[:, 0] / 2
        norm.bias -= middle
        return output - middle[:, None, None]

    statistics = {name: value.clone() for name, value in model.named_buffers()}
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    hooks = [norm.register_forward_hook(to_widest_gap) for norm in norms]
    with torch.no_grad():
        model.train()(images)
    for hook in hooks:
        hook.remove()
    model.load_state_dict(statistics, strict=False)
    return model


def logits(model: torch.nn.Module, images: torch.Tensor) -> np.ndarray:
    """In evaluation mode."""
    with torch.no_grad():
        return model.eval()(images).numpy()


def gradients(model: torch.nn.Module, images: torch.Tensor, labels: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
    """Mean cross entropy in training mode and its gradients by the parameters' names; moves the running statistics."""
    loss = functional.cross_entropy(model.train()(images), torch.from_numpy(labels).long())
    loss.backward()
    return loss.item(), {name: parameter.grad.numpy() for name, parameter in model.named_parameters()}
