"""Train a DenseNet on Ascend, GPU or CPU.

  python train.py --net densenet100 --dataset digits --eval_data_dir bundled --max_epoch 8
  python train.py --net densenet100 --dataset cifar10 --train_data_dir DIR --eval_data_dir DIR
  python train.py --net densenet121 --dataset imagenet --train_data_dir DIR/train --eval_data_dir DIR/val
  python train.py --resume output/2026-01-31_time_12_00_00
  msrun --worker_num=8 --local_worker_num=8 --join=True train.py --net densenet121 --train_data_dir DIR/train
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from src.datasets import open_for_evaluation, open_for_training, save_preview
from src.datasets.classification import evaluation_batches, training_batches
from src.datasets.sampler import steps_per_epoch
from src.losses.crossentropy import CrossEntropy
from src.lr_scheduler.lr_scheduler import build_schedule
from src.model_utils.config import Config, architecture_overrides, parse
from src.model_utils.device_adapter import Group, join_group, set_up_device
from src.network.densenet import DenseNet, architecture
from src.optimizers.sgd import SGD
from src.training.evaluation import PredictStep, evaluate
from src.training.mixed_precision import apply_amp_level, resolve_amp_level
from src.training.progress import Progress
from src.training.recorder import Recorder
from src.training.run_folder import find_checkpoint, log_name, open_run_folder
from src.training.step import LossScaling, TrainStep
from src.training.trainer import Plan, Saver, Trainer
from src.utils.checkpoint import Checkpoint, load_checkpoint, load_training_state, load_weights
from src.utils.errors import run
from src.utils.logging import get_logger, log_file


def main(argv: Sequence[str]) -> Progress:
    """Train as the command line `argv` says and return where training ended."""
    config = parse("train", argv, __doc__)
    root = Path(config.save_ckpt_path)
    checkpoint = find_checkpoint(config.resume, root, config.rank) if config.resume else None
    if checkpoint:
        config = config.on_top_of(checkpoint.require("recipe"), str(checkpoint.path))
    device = set_up_device(config.device_target, config.device_id, deterministic=config.deterministic)
    group, joined = join_group(config.is_distributed, config.rank, config.group_size)
    with open_run_folder(root, group, checkpoint) as folder, log_file(folder / log_name("train", group.rank)):
        log = get_logger()
        log.info(joined)
        for key in config.ignored:
            log.warning("train.py does not use --%s", key)
        return train(config, device, group, folder, checkpoint)


def train(config: Config, device: str, group: Group, folder: Path, checkpoint: Checkpoint | None) -> Progress:
    """The recipe: data, network, step, schedule, loop."""
    log = get_logger()
    data = open_for_training(config...)
