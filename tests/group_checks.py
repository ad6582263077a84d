"""What test_group.py runs on each rank: it prints one JSON line of what the rank found."""

import json
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from src.datasets.caching import Wanted, open_caches
from src.datasets.classification import evaluation_batches
from src.datasets.preprocessing import default_preprocessing
from src.datasets.preprocessing_choices import FILES
from src.datasets.sampler import evaluation_indices
from src.datasets.sources import open_source
from src.datasets.stages import evaluation_stage
from src.model_utils.device_adapter import set_up_device
from src.model_utils.group import Group, join_group
from src.model_utils.local_adapter import launcher_place
from src.network.densenet import DenseNet, architecture
from src.network.sync_batch_norm import SyncBatchNorm
from src.training.step import LossScaling
from src.utils.errors import ReportedError, UsageError, run
from src.utils.job_status import JobStatus
from src.utils.multilabel import MultilabelScores
from tests.training.toy import make_data, make_step

SHAPE = (4, 3, 5, 5)  # of one rank's images


def whole_batch(world_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of all ranks, (world_size * 4, 3, 5, 5), another mean on each, and the weights of their outputs."""
    random = np.random.default_rng(0)
    images = random.normal(size=(world_size, *SHAPE)) + np.arange(world_size).reshape(-1, 1, 1, 1, 1)
    weights = random.normal(size=images.shape)
    flat = (world_size * SHAPE[0], *SHAPE[1:])
    return images.reshape(flat).astype(np.float32), weights.reshape(flat).astype(np.float32)


def whole_scores() -> tuple[np.ndarray, np.ndarray]:
    """Logits, float32 (101, 5), some of them equal, and labels -1, 0 and 1 of pictures with several labels."""
    random = np.random.default_rng(1)
    labels = random.integers(-1, 2, (101, 5)).astype(np.int8)
    return (random.normal(size=labels.shape) + labels).round(1).astype(np.float32), labels


def merged_scores(group: Group) -> list[list[float]]:
    """AUROC and average precision of each class over all ranks, of which the last one has seen no picture."""
    logits, labels = whole_scores()
    counter = MultilabelScores(labels.shape[1])
    if group.rank < group.world_size - 1:
        mine = evaluation_indices(len(labels), group.rank, group.world_size - 1)
        for batch in np.array_split(mine, 3):
            counter.update(logits[batch], labels[batch])
    counter.merge(group.gather_counts)
    return [counter.figures()[key].tolist() for key in ("auroc", "average_precision")]


def pictures_read(folder: Path, group: Group) -> list[int]:
    """How many pictures this rank decodes for a cache in memory, and a checksum of an evaluation's inputs from it."""
    source, read = open_source("folder", folder, split="eval"), []
    counted = replace(source, read=lambda i: read.append(i) or source.read(i))
    preprocessing = default_preprocessing("folder", 32)
    wanted = Wanted(counted, "held-out", [evaluation_stage(preprocessing, FILES)])
    (cached,) = open_caches("ram", [wanted], workers=1)
    count = len(read)
    batches = evaluation_batches(cached, preprocessing, batch_size=4, workers=1)
    images = np.concatenate([images for images, *_ in batches])
    group.wait()  # the rank that has filled the cache holds it
    return [count, len(read), zlib.crc32(images)]


def never(_gradients):
    """`all_finite` of a device whose overflow flag is set."""
    return ops.zeros((), ms.bool_)


def always(_gradients):
    """`all_finite` of one whose flag is not."""
    return ops.ones((), ms.bool_)


def updated_together(group: Group) -> list[list[float]]:
    """The toy network's weights, skipped steps and loss scale after two steps, in the second of which rank 1 alone is
    told of an overflow.
    """
    found, truth = [], ms.amp.all_finite
    options = {"scaling": LossScaling("dynamic", 8.0), "world_size": group.world_size, "decide_together": True}
    try:
        for flag in (always, never):
            ms.amp.all_finite = flag if group.rank == 1 else always
            step = make_step(**options)
            images, labels = make_data(4, seed=group.rank)
            step(ms.Tensor(images), ms.Tensor(labels), ms.Tensor(0.1, ms.float32), ms.Tensor(True))
            found.append([float(abs(step.network.fc.weight.asnumpy()).sum()), int(step.skipped_steps.asnumpy()),
                          float(step.loss_scale.asnumpy())])  # fmt: skip
    finally:
        ms.amp.all_finite = truth
    return found


class Weighted(nn.Cell):
    """The sum of relu(norm(images)) * weights, a function whose gradients are known."""

    def __init__(self, norm: nn.Cell) -> None:
        super().__init__()
        self.norm = norm

    def construct(self, images, weights):
        return (ops.relu(self.norm(images)) * weights).sum()


def error_of_master(group: Group, kind: type) -> list[str]:
    """What each rank raises when the master's part fails."""

    def fail() -> str:
        raise kind("no such file; give another one")

    try:
        group.from_master(fail)
    except ReportedError as error:
        return [type(error).__name__, str(error)]
    return []


def check(pictures: Path) -> dict:
    """Everything that is asked of a group."""
    set_up_device("CPU", None, deterministic=True)
    group, _ = join_group(1, 0, 1)
    rank, world_size = group.rank, group.world_size
    bits = np.array([0x7FC00001, 0x80000000, 1, -5], np.int64).astype(np.int32)  # a NaN, -0.0 and a denormal, as floats
    network = DenseNet(architecture("densenet100", 10, block_config=(1,), growth_rate=2, stem_features=2), seed=rank)
    step = ms.Parameter(ms.Tensor(7 * (rank + 1), ms.int32), name="good_steps", requires_grad=False)
    first = network.get_parameters().__next__().asnumpy().tolist()
    group.share_parameters([*network.get_parameters(), step])
    found = {
        "rank": rank,
        "counts": group.sum_counts(np.array([rank, 10**9 + rank], np.int64)).tolist(),
        "gathered": group.gather_counts(np.full((rank, 3), 10**9 + rank, np.int64)).tolist(),
        "scores": merged_scores(group),
        "mean": group.mean(np.array([rank, 1.0], np.float32)).tolist(),
        "bits": group.share(bits * (rank == 0)).tolist(),
        "text": group.from_master(lambda: "ä text \0 of any length, " * 1000),
        "empty": group.from_master(str),
        "errors": [error_of_master(group, kind) for kind in (ReportedError, UsageError)],
        "any": [group.any(0), group.any(15 if rank == 1 else 0)],
        "differed": first,
        "weights": float(sum(np.abs(p.asnumpy()).sum() for p in network.get_parameters())),
        "int": int(step.asnumpy()),
    }
    found["cache"] = pictures_read(pictures, group)
    found["updates"] = updated_together(group)
    images, weights = (part[rank * SHAPE[0] :][: SHAPE[0]] for part in whole_batch(world_size))
    norm = SyncBatchNorm(SHAPE[1], world_size).set_train()
    value, (images_gradient, gradients) = ms.value_and_grad(Weighted(norm).set_train(), 0, norm.trainable_params())(
        ms.Tensor(images), ms.Tensor(weights)
    )
    arrays = [value, images_gradient, *gradients, norm.moving_mean, norm.moving_variance]
    return {**found, "norm": [array.asnumpy().tolist() for array in arrays]}


if __name__ == "__main__":
    JobStatus(launcher_place().status_dir, launcher_place().rank, "CPU")
    sys.exit(run(lambda argv: print("\nfound " + json.dumps(check(Path(argv[0]))), flush=True)))
