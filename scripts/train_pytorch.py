"""The recipe of train.py in PyTorch, for comparison: same initial weights, same batches, same schedule, eager float32.

  pip install torch
  python scripts/train_pytorch.py --net densenet100 --dataset digits --eval_data_dir bundled --max_epoch 8

Takes train.py's flags and prints its log lines. Batches come from this project's own pipeline and the first weights
from its network, so what differs is the framework: operators, gradients, optimizer. What is not repeated here, such as
mixed precision, clipping, accumulation, dropout, mixed pictures, averaged weights and resuming, is an error when a flag
asks for it.
"""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

_LIMIT = "ONEDNN_MAX_CPU_ISA"
_ASKED = os.environ.get(_LIMIT)

import torch
from torch import nn
from torch.nn import functional

from src.datasets.augmentation import Augmentation
from src.datasets.classification import TrainingInput, evaluation_batches, training_batches, worker_count
from src.datasets.preprocessing import default_preprocessing
from src.datasets.sampler import steps_per_epoch
from src.datasets.sources import open_source
from src.deploy.torch_names import torch_name
from src.lr_scheduler.lr_scheduler import build_schedule
from src.model_utils.config import Config, architecture_overrides, parse
from src.model_utils.device_adapter import set_up_device
from src.network.densenet import Architecture, DenseNet, architecture
from src.schema.options import OPTIONS
from src.utils.accuracy import Accuracy
from src.utils.errors import UsageError, run
from src.utils.logging import get_logger

# `src` sets it for MindSpore's oneDNN; PyTorch's own would obey it too, and be slower than it is.
if _ASKED is None:
    del os.environ[_LIMIT]

# The keys of train.py that are repeated here; of the others of these groups only the defaults are.
GROUPS = ("network", "data", "schedule", "optimizer", "start")
REPEATED = {
    *("net", "dataset", "num_classes", "image_size", "resize", "interpolation", "crop_ratio", "input_channels"),
    *("growth_rate", "block_config", "stem_features", "bn_size", "compression", "train_data_dir", "eval_data_dir"),
    *("per_batch_size", "augmentation", "auto_augment", "random_erasing", "num_parallel_workers", "lr_scheduler", "lr"),
    *("lr_epochs", "lr_gamma", "eta_min", "T_max", "lr_power", "max_epoch", "warmup_epochs", "momentum", "nesterov"),
    *("weight_decay", "decay_norm_and_bias", "label_smooth", "label_smooth_factor", "config_path", "debug"),
}


class TorchDenseNet(nn.Module):
    """`src.network.densenet.DenseNet` in PyTorch, average pooling only, with the parameter names of torchvision's."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.arch = arch
        channels, growth = arch.stem_features, arch.growth_rate
        is_large = arch.stem == "conv7x7"
        stem = (
            nn.Conv2d(arch.input_channels, channels, 7, 2, 3, bias=False)
            if is_large
            else nn.Conv2d(arch.input_channels, channels, 3, 1, 1, bias=False)
        )
        self._add("features.conv0", stem)
        self._add("features.norm0", nn.BatchNorm2d(channels))
        for block, count in enumerate(arch.block_config, 1):
            for layer in range(1, count + 1):
                name = f"features.denseblock{block}.denselayer{layer}"
                self._add(f"{name}.norm1", nn.BatchNorm2d(channels))
                self._add(f"{name}.conv1", nn.Conv2d(channels, arch.bn_size * growth, 1, bias=False))
                self._add(f"{name}.norm2", nn.BatchNorm2d(arch.bn_size * growth))
                self._add(f"{name}.conv2", nn.Conv2d(arch.bn_size * growth, growth, 3, 1, 1, bias=False))
                channels += growth
            if block < len(arch.block_config):
                self._add(f"features.transition{block}.norm", nn.BatchNorm2d(channels))
                reduced = max(1, int(channels * arch.compression))
                self._add(f"features.transition{block}.conv", nn.Conv2d(channels, reduced, 1, bias=False))
                channels = reduced
        self._add("features.norm5", nn.BatchNorm2d(channels))
        self._add("classifier", nn.Linear(channels, arch.num_classes))

    def _add(self, name: str, module: nn.Module) -> None:
        *parents, last = name.split(".")
        owner = self
        for part in parents:
            if part not in dict(owner.named_children()):
                owner.add_module(part, nn.Module())
            owner = owner.get_submodule(part)
        owner.add_module(last, module)

    def _norm_relu_conv(self, norm: str, conv: str, x: torch.Tensor) -> torch.Tensor:
        return self.get_submodule(conv)(functional.relu(self.get_submodule(norm)(x)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images (N, 3, H, W) -> logits (N, num_classes)."""
        x = functional.relu(self.features.norm0(self.features.conv0(x)))
        if self.arch.stem == "conv7x7":
            x = functional.max_pool2d(x, 3, 2, 1)
        for block, count in enumerate(self.arch.block_config, 1):
            for layer in range(1, count + 1):
                name = f"features.denseblock{block}.denselayer{layer}"
                new = self._norm_relu_conv(f"{name}.norm1", f"{name}.conv1", x)
                new = self._norm_relu_conv(f"{name}.norm2", f"{name}.conv2", new)
                x = torch.cat((x, new), 1)
            if block < len(self.arch.block_config):
                name = f"features.transition{block}"
                x = functional.avg_pool2d(self._norm_relu_conv(f"{name}.norm", f"{name}.conv", x), 2)
        return self.classifier(functional.relu(self.features.norm5(x)).mean((2, 3)))

    def load(self, network: DenseNet) -> None:
        """Take over the weights of our network."""
        weights = {torch_name(p.name): torch.from_numpy(p.asnumpy().copy()) for p in network.get_parameters()}
        self.load_state_dict(weights)


def refuse_what_is_not_repeated(config: Config) -> None:
    """Raise UsageError for a key that would change the recipe of train.py and not this one."""
    for option in OPTIONS:
        value = getattr(config, option.name)
        concerns = option.group in GROUPS and "train" in option.commands and option.name not in REPEATED
        if concerns and value != option.default:
            raise UsageError(f"{option.name} is {value}, the comparison only knows {option.default!r}; leave it out")


def main(argv: Sequence[str]) -> Accuracy:
    """Train and evaluate as the flags of train.py say; return the last accuracy."""
    config = parse("train", argv, __doc__)
    refuse_what_is_not_repeated(config)
    set_up_device("CPU", 0, deterministic=True)
    source = open_source(config.dataset, config.train_data_dir, split="train")
    held_out = open_source(config.dataset, config.eval_data_dir, split="eval", class_names=source.class_names)
    preprocessing = default_preprocessing(config.dataset, **config.geometry())
    workers, batch_size = worker_count(config.num_parallel_workers), config.per_batch_size
    classes = config.num_classes or len(source.class_names)
    arch = architecture(config.net, classes, **architecture_overrides(config))
    model = TorchDenseNet(arch)
    model.load(DenseNet(arch, seed=config.seed))
    decayed = [p for p in model.parameters() if p.ndim > 1 or config.decay_norm_and_bias]
    others = [p for p in model.parameters() if not (p.ndim > 1 or config.decay_norm_and_bias)]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(
        [group for group in groups if group["params"]], config.lr, config.momentum, nesterov=config.nesterov
    )
    steps = steps_per_epoch(len(source), batch_size)
    schedule = build_schedule(
        config.lr_scheduler, lr=config.lr, steps_per_epoch=steps, max_epoch=config.max_epoch,
        warmup_epochs=config.warmup_epochs, milestones=config.lr_epochs, gamma=config.lr_gamma,
        eta_min=config.eta_min, t_max=config.T_max, power=config.lr_power,
    )  # fmt: skip
    smoothing = config.label_smooth_factor if config.label_smooth else 0.0
    augmentation = Augmentation(config.augmentation, config.auto_augment, config.random_erasing)
    how = TrainingInput(augmentation=augmentation, batch_size=batch_size, seed=config.seed, workers=workers)
    for epoch in range(config.max_epoch):
        batches = training_batches(source, preprocessing, how, epoch=epoch)
        model.train()
        losses, start = [], time.perf_counter()
        for step, (images, labels, _) in enumerate(batches):
            for group in optimizer.param_groups:
                group["lr"] = schedule(epoch * steps + step)
            optimizer.zero_grad(set_to_none=True)
            logits = model(torch.from_numpy(images))
            loss = functional.cross_entropy(logits, torch.from_numpy(labels).long(), label_smoothing=smoothing)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        speed = steps * batch_size / (time.perf_counter() - start)
        get_logger().info("epoch[%d], iter[%d], loss:%.3f, mean_fps:%.2f imgs/sec",
                          epoch, (epoch + 1) * steps - 1, sum(losses) / len(losses), speed)  # fmt: skip
        accuracy = Accuracy(classes)
        model.eval()
        with torch.no_grad():
            for images, labels, _ in evaluation_batches(
                held_out, preprocessing, batch_size=batch_size, workers=workers
            ):
                accuracy.update(model(torch.from_numpy(images)).numpy(), labels)
        for line in accuracy.lines():
            get_logger().info(line)
    return accuracy


if __name__ == "__main__":
    sys.exit(run(main))
