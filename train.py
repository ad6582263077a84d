"""Train a DenseNet on Ascend, GPU or CPU.

python train.py --net densenet100 --dataset digits --eval_data_dir bundled --max_epoch 8
python train.py --net densenet100 --dataset cifar10 --train_data_dir DIR --eval_data_dir DIR
python train.py --net densenet121 --dataset imagenet --train_data_dir DIR/train --eval_data_dir DIR/val
python train.py --resume output/2026-01-31_time_12_00_00
"""

import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from src.utils.signals import hold_interrupts

if __name__ == "__main__":
    hold_interrupts()  # before the imports below start threads

from src.datasets.class_weights import class_weights
from src.datasets.classification import Batch, training_batches, worker_count
from src.datasets.mixing import Mixing, mixed_batches
from src.datasets.preprocessing import default_preprocessing
from src.datasets.reading import Reading
from src.datasets.source import Source
from src.datasets.usable import open_usable
from src.deploy.named_weights import load_pretrained
from src.losses.build import build_loss
from src.losses.distillation import DistillationLoss
from src.lr_scheduler.lr_scheduler import build_schedule
from src.model_utils.config import Config, architecture_overrides, parse, save_config
from src.model_utils.device_adapter import set_up_device
from src.model_utils.group import Group, join_group
from src.model_utils.local_adapter import launcher_place
from src.model_utils.moxing_adapter import modelarts
from src.network.architecture import architecture
from src.network.build import build_network
from src.network.mixed_precision import resolve_amp_level
from src.ops.select import arithmetic_of, changed_arithmetic
from src.optimizers.average import WeightAverage
from src.optimizers.layer_decay import layer_factors
from src.optimizers.sgd import SGD
from src.schema.doubts import doubts
from src.training.begin import Origin, begin
from src.training.best import is_new_metric, resolve_best_metric
from src.training.dry_run import dry_run
from src.training.evaluation import held_out_evaluation
from src.training.held_out import split_data
from src.training.limits import Limits
from src.training.lr_find import find_learning_rate, report_range_test
from src.training.model_card import ModelCard, pools_as_asked, training_input_of, warn_of_unsaid_pools
from src.training.plan import Plan
from src.training.pretrained import normalised_as_before, share_pretrained
from src.training.progress import Progress
from src.training.recorder import Recorder
from src.training.run_data import RunData, absolute, open_run_data, require_same_everywhere
from src.training.run_folder import log_name, open_run_folder, scratch_folder, share_checkpoint
from src.training.saver import Saver
from src.training.sizes import check_sizes, size_of_epoch
from src.training.statistics import StatisticsRefresh
from src.training.step import TrainStep, resolve_loss_scaling
from src.training.teacher import ENTRY as TEACHER
from src.training.teacher import TeacherFile, open_teacher
from src.training.trainer import Trainer
from src.utils.checkpoint import RUN_CONFIG
from src.utils.errors import run
from src.utils.graph_cache import open_graph_cache
from src.utils.job_status import JobStatus
from src.utils.logging import get_logger, log_file


def main(argv: Sequence[str]) -> Progress:
    """Train as the command line `argv` says; return where training ended."""
    config = parse("train", argv, __doc__)
    with modelarts(**config.values_of("modelarts"), resume=bool(config.resume)) as results:
        return start(config, results / config.save_ckpt_path)


def start(config: Config, root: Path) -> Progress:
    """Join the group, find where to begin, and train in a run folder below `root`."""
    device = set_up_device(config.device_target, config.given("device_id"), deterministic=config.deterministic)
    group, joined = join_group(config.is_distributed, config.rank, config.group_size)
    status = JobStatus(launcher_place().status_dir, group.rank)
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


def as_of(config: Config, origin: Origin) -> Config:
    """The configuration, with what a resumed run or pretrained weights decide, and paths that lead there from any
    folder, as a run is resumed from any.
    """
    if origin.checkpoint:
        checkpoint = origin.checkpoint
        pools_as_asked(checkpoint.path, checkpoint.require("architecture"), config.given_architecture())
        config = config.on_top_of(checkpoint.require(RUN_CONFIG), str(checkpoint.path))
    elif origin.pretrained:
        pretrained, asked = origin.pretrained, config.given_architecture()
        planned = architecture(config.net, 1, **architecture_overrides(config))
        config = config.replace(**pretrained.network(asked, planned))
        planned_input = default_preprocessing(config.dataset, **config.geometry())
        config = config.replace(**pretrained.geometry(config.given_geometry(), planned_input))
    return config.replace(
        # The augmentation's random streams belong to the workers: their number is part of what a resumed run repeats.
        num_parallel_workers=worker_count(config.num_parallel_workers),
        **{key: absolute(getattr(config, key)) for key in ("train_data_dir", "eval_data_dir", "image_root", "teacher")},
    )


def train(
    config: Config, device: str, group: Group, folder: Path, origin: Origin, status: JobStatus
) -> Progress:  # fmt: skip
    """The recipe: data, network, step, schedule, where to begin, loop."""
    data = open_data(config, group, folder, origin)
    card = describe_model(config, data, origin)
    shard = {"batch_size": config.per_batch_size, "workers": config.num_parallel_workers,
             "rank": group.rank, "world_size": group.world_size}  # fmt: skip
    answering = card.evaluated_at(config.eval_image_size)
    augmented_batches = partial(
        training_batches, data.training, card.preprocessing, augmentation=config.augmentation, seed=config.seed,
        balanced=config.balanced_sampling, auto_augment=config.auto_augment, random_erasing=config.random_erasing,
        streams=config.augmentation_streams, **shard,
    )  # fmt: skip

    def train_batches(epoch: int, **place: int) -> Iterator[Batch]:
        size = size_of_epoch(config.progressive_size, epoch, config.max_epoch)
        return augmented_batches(epoch=epoch, size=size, **place)

    if config.mixup or config.cutmix:
        train_batches = partial(
            mixed_batches, train_batches, Mixing(config.mixup, config.cutmix, config.seed), rank=group.rank,
            images_per_batch=config.per_batch_size * group.world_size,
        )  # fmt: skip
    teacher = open_teacher(config.teacher, card, origin.checkpoint, group)
    train_step = build_train_step(config, card, data.training, device, group, teacher)
    network = train_step.network

    plan = Plan(
        max_epoch=config.max_epoch, num_images=len(data.training), batch_size=config.per_batch_size,
        world_size=group.world_size, accumulation_steps=config.grad_accumulation_steps,
        log_interval=config.log_interval, eval_interval=config.eval_interval, ckpt_interval=config.ckpt_interval,
        sync_bn_stats=config.sync_bn_stats,
    )  # fmt: skip
    scale = plan.images_per_step // plan.batch_size if config.linear_lr_scaling else 1
    schedule = build_schedule(
        config.lr_scheduler, lr=config.lr * scale, steps_per_epoch=plan.steps_per_epoch, max_epoch=config.max_epoch,
        warmup_epochs=config.warmup_epochs, milestones=config.lr_epochs, gamma=config.lr_gamma,
        eta_min=config.eta_min * scale, t_max=config.T_max, power=config.lr_power,
    )  # fmt: skip
    evaluate_now = (
        held_out_evaluation(network, data.held_out, answering, shard, group, status.beat, train_step.graph_cache)
        if data.held_out
        else None
    )

    progress = begin(train_step, origin, card, train_batches, folder, group, reset_head=config.reset_head)
    best_metric = resolve_best_metric(config.best_metric, card.task)
    if (
        data.is_new_held_out
        or is_new_metric(origin.checkpoint, best_metric, card.task)
        or answering.differs_from(origin.checkpoint)
    ):
        progress.forget_best()
    get_logger().info(
        "%s (%s parameters) on %d images of %s, %d steps an epoch; input %s",
        config.net, f"{sum(p.size for p in network.trainable_params()):,}", len(data.training), config.dataset,
        plan.steps_per_epoch, card.preprocessing.shape_in_words(),
    )  # fmt: skip
    if answering != card:
        get_logger().info("evaluated, and to be used, with the input %s", answering.preprocessing.shape_in_words())
    if config.dry_run:
        cost = dry_run(
            train_step, augmented_batches, plan, progress, group, device=device, rate=config.lr * scale,
            evaluate=evaluate_now, num_held_out=len(data.held_out or ()),
        )  # fmt: skip
        for line in cost.lines() if group.is_master else ():
            get_logger().info("%s", line)
        return progress
    if config.lr_find:
        found = find_learning_rate(train_step, augmented_batches, plan.accumulation_steps)
        if group.is_master:
            get_logger().info("%s", report_range_test(found, folder, scale=scale))
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


def open_data(config: Config, group: Group, folder: Path, origin: Origin) -> RunData:
    """The training and the held-out pictures, the same on every rank."""
    workers = config.num_parallel_workers
    data = open_run_data(
        partial(
            open_usable, config.dataset, on_bad_image=config.on_bad_image, workers=workers, folder=folder,
            reading=Reading(config.image_root, config.uncertain, config.task),
        ),
        config.train_data_dir, config.eval_data_dir, num_classes=config.num_classes,
        is_asked_for=lambda key: config.given(key) is not None, checkpoint=origin.checkpoint,
        pretrained_names=() if config.reset_head or not origin.pretrained else origin.pretrained.class_names,
        is_master=group.is_master, workers=workers,
        hold_out=partial(split_data, share=config.val_split, seed=config.seed, workers=workers, group=group)
        if config.val_split else None,
    )  # fmt: skip
    require_same_everywhere(group, data.fingerprints, data.training.origin)
    return data


def describe_model(config: Config, data: RunData, origin: Origin) -> ModelCard:
    """The network, its input and its outputs' names: as in the run that is resumed, or new ones for the data."""
    pretrained = origin.pretrained
    if pretrained and not pretrained.architecture:
        warn_of_unsaid_pools(pretrained.path, config.net, config.given_architecture())
    if origin.checkpoint:
        preprocessing = training_input_of(origin.checkpoint).as_asked(**config.given_geometry())
    else:
        preprocessing = default_preprocessing(data.training.dataset, **config.geometry())
        preprocessing = normalised_as_before(preprocessing, pretrained)
    arch = architecture(config.net, len(data.class_names), **architecture_overrides(config))
    return ModelCard(arch, preprocessing, data.class_names, task=data.training.task)


def build_train_step(
    config: Config, card: ModelCard, training: Source, device: str, group: Group, teacher: TeacherFile | None
) -> TrainStep:  # fmt: skip
    """Network, loss and optimizer in one graph."""
    norm_ranks = group.world_size if config.sync_batch_norm else 1
    card.architecture.check_batch(card.preprocessing.image_size, config.per_batch_size * norm_ranks)
    check_sizes(
        config.progressive_size, card.preprocessing.image_size, card.architecture, config.per_batch_size * norm_ranks
    )
    amp_level = resolve_amp_level(config.amp_level, device)
    network = build_network(
        card.architecture, device=device, cpu_kernels=config.cpu_kernels, cpu_precision=config.cpu_precision,
        amp_level=amp_level, recompute=config.recompute, seed=config.seed, norm_ranks=norm_ranks, trains=True,
        is_master=group.is_master,
    )  # fmt: skip
    trained = network.trainable_params()
    optimizer = SGD(
        trained, momentum=config.momentum, weight_decay=config.weight_decay,
        nesterov=config.nesterov, decay_norm_and_bias=config.decay_norm_and_bias, kernels=network.kernels,
        lr_factors=layer_factors([parameter.name for parameter in trained], config.layer_lr_decay),
    )  # fmt: skip
    taught = {}
    if teacher:
        build = partial(
            build_network, device=device, cpu_kernels="off" if config.cpu_kernels == "off" else "auto",
            cpu_precision=config.cpu_precision, amp_level=amp_level, is_master=False,
        )  # fmt: skip
        taught = {"teacher": teacher.build(build, group), "distillation": DistillationLoss(config.teacher_temperature),
                  "teacher_weight": config.teacher_weight}  # fmt: skip
    average = WeightAverage(network, config.ema_decay, network.kernels) if config.ema_decay else None
    weights = class_weights(training, config.class_weights, config.class_weight_power, card.class_names)
    return TrainStep(
        network, build_loss(card.task, config.label_smooth_factor if config.label_smooth else 0.0, weights), optimizer,
        scaling=resolve_loss_scaling(config.loss_scale_type, config.loss_scale, amp_level),
        max_norm=config.grad_clip_norm, accumulation_steps=config.grad_accumulation_steps,
        world_size=group.world_size, average=average, **taught,
        graph_cache=open_graph_cache(config.graph_cache, device),
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(run(main))
