"""PyTorch's variants of a network's tasks: torchvision's DenseNet, or its class with CIFAR's first layers."""

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch.nn import Conv2d, Identity, functional

from scripts.benchmarks.data import batch_of
from scripts.benchmarks.tasks import TRAINING, Job
from scripts.benchmarks.torchvision_beside_cpu import torchvision
from src.network.architecture import Architecture


def network(arch: Architecture) -> torch.nn.Module:
    """torchvision's network of this architecture, initialised as it does."""
    model = torchvision.models.DenseNet(
        arch.growth_rate, arch.block_config, arch.stem_features, arch.bn_size, arch.drop_rate, arch.num_classes
    )
    if arch.stem == "conv3x3":
        model.features.conv0 = Conv2d(3, arch.stem_features, 3, 1, 1, bias=False)
        model.features.pool0 = Identity()
    return model


def build(job: Job) -> Callable[[], float]:
    """A step that trains or predicts one batch and returns a number of its result."""
    torch.set_num_threads(job.threads)
    torch.manual_seed(0)
    options = dict(job.variant.options)
    layout = torch.channels_last if options["channels_last"] else torch.contiguous_format
    images, labels = map(torch.from_numpy, batch_of(job.task))
    images, labels = images.contiguous(memory_format=layout), labels.long()
    model = network(job.task.arch).to(memory_format=layout).train(job.task.kind == TRAINING)
    forward = torch.compile(model) if options["compiled"] else model

    def precision():
        return torch.autocast("cpu", torch.bfloat16) if job.variant.precision == "bf16" else nullcontext()

    def predict() -> float:
        with torch.no_grad(), precision():
            return forward(images).float().numpy()[0, 0]

    if job.task.kind != TRAINING:
        return predict
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)

    def train() -> float:
        optimizer.zero_grad()
        with precision():
            loss = functional.cross_entropy(forward(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return train
