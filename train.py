"""Train a DenseNet on Ascend, GPU or CPU.

python train.py --net densenet100 --dataset digits --eval_data_dir bundled --max_epoch 8
python train.py --net densenet100 --dataset cifar10 --train_data_dir DIR --eval_data_dir DIR
python train.py --net densenet121 --dataset imagenet --train_data_dir DIR/train --eval_data_dir DIR/val
python train.py --resume output/2026-01-31_time_12_00_00
"""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from src.utils.signals import hold_interrupts

if __name__ == "__main__":
    hold_interrupts()  # before the imports below start threads

from src.deploy.named_weights import load_pretrained
from src.model_utils.config import Config, parse, save_config
from src.model_utils.device_adapter import set_up_device
from src.model_utils.group import Group, join_group
from src.model_utils.local_adapter import launcher_place
from src.model_utils.moxing_adapter import modelarts
from src.ops.select import arithmetic_of, changed_arithmetic
from src.schema.doubts import doubts
from src.training.begin import Origin, begin
from src.training.best import is_new_metric, resolve_best_metric
from src.training.dry_run import dry_run
from src.training.evaluation import held_out_evaluation
from src.training.limits import Limits
from src.training.lr_find import find_learning_rate, report_range_test
from src.training.pretrained import share_pretrained
from src.training.progress import Progress
from src.training.recorder import Recorder
from src.training.run_folder import log_name, open_run_folder, scratch_folder, share_checkpoint
from src.training.saver import Saver
from src.training.statistics import StatisticsRefresh
from src.training.teacher import ENTRY as TEACHER
from src.training.teacher import open_teacher
from src.training.trainer import Trainer
from src.utils.checkpoint import RUN_CONFIG
from src.utils.errors import run
from src.utils.job_status import JobStatus
from src.utils.logging import get_logger, log_file
from train_parts import (
    as_of,
    build_batches,
    build_lr_schedule,
    build_plan,
    build_train_step,
    describe_model,
    lr_scale,
    open_data,
    shard_of,
    with_caches,
)


def main(argv: Sequence[str]) -> Progress:
    """Train as the command line `argv` says; return where training ended."""
    config = parse("train", argv, __doc__)
    with modelarts(**config.values_of("modelarts"), resume=bool(config.resume)) as results:
        return start(config, results / config.save_ckpt_path)


def start(config: Config, root: Path) -> Progress:
    """Join the group, find where to begin, and train in a run folder below `root`."""
    device = set_up_device(config.device_target, config.given("device_id"), deterministic=config.deterministic)
    group, joined = join_group(config.is_distributed, config.rank, config.group_size)
    status = JobStatus(launcher_place().status_dir, group.rank, device)
    checkpoint = share_checkpoint(config.resume, root, group)
    load = partial(
        load_pretrained, net=config.given("net") or "", reset_head=config.reset_head,
        input_channels=config.input_channels,
    )  # fmt: skip
    origin = Origin(checkpoint, share_pretrained("" if checkpoint else config.train_pretrained, group, load))
    config = as_of(config, origin)
    with (
        scratch_folder() if config.dry_run else open_run_folder(root, group, checkpoint, config.resume) as folder,
        log_file(folder / log_name("train", group.rank)),
    ):
        get_logger().info("run folder %s, device %s; %s", folder, device, joined)
        if origin.pretrained and origin.pretrained.said:
            get_logger().info(origin.pretrained.said)
        for doubt in doubts(config):
            get_logger().warning("%s", doubt)
        if group.is_master:
            save_config(config, folder)
            if not config.dry_run:
                status.run_folder(folder)
        return train(config, device, group, folder, origin, status)


def train(
    config: Config, device: str, group: Group, folder: Path, origin: Origin, status: JobStatus
) -> Progress:  # fmt: skip
    """The recipe: data, network, step, schedule, where to begin, loop."""
    data = open_data(config, group, folder, origin)
    card = describe_model(config, data, origin)
    answering = card.evaluated_at(config.eval_image_size)
    data = with_caches(config, data, card, answering, status.beat)
    train_batches = build_batches(config, data.training, card, group)
    teacher = open_teacher(config.teacher, card, origin.checkpoint, group)
    train_step = build_train_step(config, card, data.training, device, group, teacher)
    network = train_step.network

    plan = build_plan(config, len(data.training), group)
    schedule = build_lr_schedule(config, plan)
    evaluate_now = None
    if data.held_out:
        shard, graphs = shard_of(config, group), train_step.graph_cache
        evaluate_now = held_out_evaluation(network, data.held_out, answering, shard, group, status.beat, graphs)

    progress = begin(train_step, origin, card, train_batches, folder, group, reset_head=config.reset_head)
    best_metric = resolve_best_metric(config.best_metric, card.task)
    if (
        data.is_new_held_out
        or is_new_metric(origin.checkpoint, best_metric, card.task)
        or answering.differs_from(origin.checkpoint)
    ):
        progress.forget_best()
    size = card.architecture.num_parameters
    frozen = size - sum(p.size for p in network.trainable_params())
    get_logger().info(
        "%s (%s parameters%s) on %d images of %s, %d steps an epoch; input %s",
        config.net, f"{size:,}", f", {frozen:,} of them frozen" if frozen else "", len(data.training), config.dataset,
        plan.steps_per_epoch, card.preprocessing.shape_in_words(),
    )  # fmt: skip
    if answering != card:
        get_logger().info("evaluated, and to be used, with the input %s", answering.preprocessing.shape_in_words())
    if config.dry_run:
        cost = dry_run(
            train_step, train_batches, plan, progress, group, device=device, rate=config.lr * lr_scale(config, plan),
            evaluate=evaluate_now, num_held_out=len(data.held_out or ()),
        )  # fmt: skip
        for line in cost.lines() if group.is_master else ():
            get_logger().info("%s", line)
        return progress
    if config.lr_find:
        found = find_learning_rate(train_step, train_batches, plan.accumulation_steps)
        if group.is_master:
            get_logger().info("%s", report_range_test(found, folder, scale=lr_scale(config, plan)))
        return progress
    arithmetic = arithmetic_of(network.kernels)
    if origin.checkpoint and (change := changed_arithmetic(origin.checkpoint.metadata.get("arithmetic"), arithmetic)):
        get_logger().warning(change)
    metadata = {**answering.to_metadata(card.preprocessing), **data.to_metadata(), "arithmetic": arithmetic,
                RUN_CONFIG: config.run_config(), **({TEACHER: teacher.sha256} if teacher else {})}  # fmt: skip
    saves = group.is_master or not config.is_save_on_master
    saver = Saver(folder, train_step, metadata, rank=group.rank, keep=config.keep_checkpoint_max, active=saves)
    recorder = Recorder(folder, progress.history, global_step=plan.steps_done(progress), active=group.is_master)
    trainer = Trainer(
        train_step, train_batches, schedule, plan, progress, saver, recorder,
        evaluate=evaluate_now, group=group, beat=status.beat, best_metric=best_metric,
        limits=Limits(config.patience, config.max_hours, best_metric),
        refresh=StatisticsRefresh(network, train_step.graph_cache) if config.progressive_size else None,
    )  # fmt: skip
    return trainer.run()


if __name__ == "__main__":
    sys.exit(run(main))
