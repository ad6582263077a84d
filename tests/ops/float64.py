"""What the operators of src/ops/cpp should do: in PyTorch's float64, (N, C, H, W), with gradients from autograd."""

from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

EPSILON, MOMENTUM = 1e-5, 0.9
CLEARANCE = 1e-5  # many times what float32 rounds values of about 1 by


class NormReLU:
    """BN-ReLU: every normalisation of an operator, one call each.

    running: (2, C) each, to normalise with instead of the batch's statistics. settle: move each beta to where float32
    and float64 agree on which values are positive.
    """

    def __init__(self, running=None, settle=False):
        self.running, self.settle = running, settle
        self.seen = []  # statistics (2, C) and pixels of each call
        self.clearance = float("inf")  # of all decisions, the smallest distance of a value from deciding otherwise

    def __call__(self, x, stats, gamma, beta):
        mean, variance = stats if self.running is None else self.running[len(self.seen)]
        self.seen.append((stats, x.numel() // x.shape[1]))
        scaled = by_channel(gamma) * (x - by_channel(mean)) / (by_channel(variance) + EPSILON).sqrt()
        if self.settle:
            beta.copy_(in_gap(scaled, beta))
        y = scaled + by_channel(beta)
        self.clearance = min(self.clearance, y.abs().min().item())
        return y.relu()

    def follow(self, running):
        """What becomes of `running`: the variance that it follows is the unbiased one."""
        followed = []
        for old, (stats, pixels) in zip(running, self.seen, strict=True):
            unbiased = torch.tensor([[1.0], [pixels / max(pixels - 1, 1)]], dtype=torch.float64)
            followed.append(MOMENTUM * old + (1 - MOMENTUM) * unbiased * stats)
        return followed


def by_channel(values):
    return values.reshape(1, -1, 1, 1)


def in_gap(x, beta):
    """Float32 numbers near `beta`, whose negatives lie in the widest gap in a fifth of a channel's values."""
    values = x.transpose(0, 1).flatten(1).sort().values
    values = torch.cat([values[:, :1] - 1, values, values[:, -1:] + 1], 1)
    few = max(values.shape[1] // 10, 1)
    middle = (values < -beta[:, None]).sum(1, keepdim=True).clamp(1, values.shape[1] - 1)
    near = values.gather(1, (middle + torch.arange(-few, few)).clamp(0, values.shape[1] - 1))
    gap = near.diff().argmax(1, keepdim=True)
    return -(near.gather(1, gap) + near.gather(1, gap + 1))[:, 0].div(2).float().double()


def stats_of(x):
    return torch.stack([x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)])


def stem(pool, norm, images, conv, gamma, beta):
    """-> y, its statistics."""
    kernel = conv.shape[2]
    convolved = functional.conv2d(images, conv, stride=2 if kernel == 7 else 1, padding=kernel // 2)
    y = norm(convolved, stats_of(convolved), gamma, beta)
    if kernel == 7:
        # Zeros pad behind a ReLU as -inf would. `same` pads an even length at its end only.
        top, left = (int(pool == "pad" or length % 2) for length in y.shape[2:])
        y = functional.pad(y, (left, 1, top, 1))
        first, second = functional.unfold(y, 3, stride=2).unflatten(1, (len(gamma), 9)).topk(2, 2).values.unbind(2)
        norm.clearance = min(norm.clearance, (first - second)[first > 0].min().item())
        y = functional.max_pool2d(y, 3, 2)
    return y, stats_of(y)


def block(factors_of, norm, x, stats, *parameters):
    """-> features, their statistics. factors_of(layer, shape): what dropout multiplies new features by in training."""
    for i in range(0, len(parameters), 6):
        gamma1, beta1, conv1, gamma2, beta2, conv2 = parameters[i : i + 6]
        bottleneck = functional.conv2d(norm(x, stats, gamma1, beta1), conv1)
        new = functional.conv2d(norm(bottleneck, stats_of(bottleneck), gamma2, beta2), conv2, padding=1)
        if norm.running is None:
            new = new * torch.as_tensor(factors_of(i // 6, new.shape))
        x, stats = torch.cat([x, new], 1), torch.cat([stats, stats_of(new)], 1)
    return x, stats


def transition(pool, norm, x, stats, gamma, beta, conv):
    """-> y, its statistics; in the paper's order, the pool at last."""
    y = functional.conv2d(norm(x, stats, gamma, beta), conv)
    if pool == "max":
        first, second = functional.unfold(y, 2, stride=2).unflatten(1, (len(conv), 4)).topk(2, 2).values.unbind(2)
        norm.clearance = min(norm.clearance, (first - second).min().item())
        y = functional.max_pool2d(y, 2)
    else:
        y = functional.avg_pool2d(y, 2)
    return y, stats_of(y)


def final(norm, x, stats, gamma, beta):
    """-> features."""
    return (norm(x, stats, gamma, beta),)


def final_pool(norm, x, stats, gamma, beta):
    """-> the means of the features."""
    return (norm(x, stats, gamma, beta).mean((2, 3)),)


class Step(NamedTuple):
    """What goes into an operator in training and evaluation, and what comes out: lists of float64 arrays.

    inputs: without the parameters: images, or x and its statistics. running: (2, C) of each normalisation in turn.
    cotangents: gradients of the outputs. gradients: of the inputs, then of the parameters. followed: the running
    statistics after training. inferred: the first output in evaluation.
    """

    inputs: list
    parameters: list
    running: list
    outputs: list
    cotangents: list
    gradients: list
    followed: list
    inferred: np.ndarray


class Evaluation(NamedTuple):
    """The same of evaluation, where statistics neither go in nor come out; the betas have settled for it."""

    inputs: list
    parameters: list
    running: list
    output: np.ndarray
    cotangent: np.ndarray
    gradients: list


def evaluation(operator, inputs, parameters, running, random):
    """`operator` of float32 arrays in evaluation; None where float32 could decide otherwise."""
    inputs, parameters, running = (
        [torch.from_numpy(array).double() for array in arrays] for arrays in (inputs, parameters, running)
    )
    operator(NormReLU(running, settle=True), *inputs, *parameters)
    leaves = [tensor.requires_grad_() for tensor in (inputs[0], *parameters)]
    norm = NormReLU(running)
    output = operator(norm, leaves[0], *inputs[1:], *leaves[1:])[0]
    if norm.clearance < CLEARANCE:
        return None
    cotangent = torch.from_numpy(random.standard_normal(output.shape, np.float32)).double()
    gradients = torch.autograd.grad(output, leaves, cotangent)
    lists = ([tensor.detach().numpy() for tensor in tensors] for tensors in (inputs, parameters, running))
    return Evaluation(*lists, output.detach().numpy(), cotangent.numpy(), [gradient.numpy() for gradient in gradients])


def step(operator, inputs, parameters, running, random):
    """`operator`(norm, *inputs, *parameters) of float32 arrays; None where float32 could decide otherwise.

    The betas have settled in the result's parameters. random: draws the cotangents.
    """
    inputs, parameters, running = (
        [torch.from_numpy(array).double() for array in arrays] for arrays in (inputs, parameters, running)
    )
    operator(NormReLU(settle=True), *inputs, *parameters)
    leaves = [tensor.requires_grad_() for tensor in (*inputs, *parameters)]
    norm = NormReLU()
    outputs = operator(norm, *leaves)
    if norm.clearance < CLEARANCE:
        return None
    cotangents = []
    for output in outputs:
        drawn = torch.from_numpy(random.standard_normal(output.shape, np.float32)).double()
        # What a mean owes is shared by all pixels; this makes it as much for each as its own gradient.
        cotangents.append(drawn * (norm.seen[-1][1] if output.ndim == 2 else 1))
    gradients = torch.autograd.grad(outputs, leaves, cotangents)
    inferred = operator(NormReLU(running), *leaves)[0]
    found = inputs, parameters, running, outputs, cotangents, gradients, norm.follow(running)
    return Step(*([tensor.detach().numpy() for tensor in tensors] for tensors in found), inferred.detach().numpy())
