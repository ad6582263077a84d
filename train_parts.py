"""What a training run is built of, from the configuration: the parts that train.py puts together."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from src.datasets.augmentation import Augmentation
from src.datasets.caching import Wanted, open_caches
from src.datasets.class_weights import class_weights
from src.datasets.classification import Batch, TrainingInput, stages_of_training, training_batches, worker_count
from src.datasets.mixing import Mixing, mixed_batches
from src.datasets.preprocessing import default_preprocessing
from src.datasets.reading import Reading
from src.datasets.source import Source
from src.datasets.stages import evaluation_stage
from src.datasets.usable import open_usable
from src.losses.build import build_distillation, build_loss
from src.lr_scheduler.lr_scheduler import Schedule, build_schedule
from src.model_utils.config import Config, architecture_overrides
from src.model_utils.group import Group
from src.network.architecture import architecture
from src.network.build import build_network
from src.network.mixed_precision import resolve_amp_level
from src.optimizers.average import WeightAverage
from src.optimizers.layer_decay import layer_factors
from src.optimizers.sgd import SGD
from src.training.begin import Origin, frozen_as_before
from src.training.held_out import split_data
from src.training.model_card import ModelCard, pools_as_asked, training_input_of, warn_of_unsaid_pools
from src.training.plan import Plan
from src.training.pretrained import normalised_as_before
from src.training.run_data import RunData, absolute, open_run_data, require_same_everywhere
from src.training.sizes import check_sizes, size_of_epoch
from src.training.step import TrainStep, resolve_loss_scaling
from src.training.teacher import TeacherFile
from src.utils.checkpoint import RUN_CONFIG
from src.utils.graph_cache import open_graph_cache


def as_of(config: Config, origin: Origin) -> Config:
    """The configuration, with what a resumed run or pretrained weights decide, and paths that lead there from any
    folder, as a run is resumed from any.
    """
    if origin.checkpoint:
        checkpoint = origin.checkpoint
        pools_as_asked(checkpoint.path, checkpoint.require("architecture"), config.given_architecture())
        frozen_as_before(checkpoint, config.given("freeze"))
        config = config.on_top_of(checkpoint.require(RUN_CONFIG), str(checkpoint.path))
    elif origin.pretrained:
        pretrained, asked = origin.pretrained, config.given_architecture()
        planned = architecture(config.net, 1, **architecture_overrides(config))
        config = config.replace(**pretrained.network(asked, planned))
        planned_input = default_preprocessing(config.dataset, **config.geometry())
        config = config.replace(**pretrained.geometry(config.given_geometry(), planned_input, config.dataset))
    return config.replace(
        # The augmentation's random streams belong to the workers: their number is part of what a resumed run repeats.
        num_parallel_workers=worker_count(config.num_parallel_workers),
        **{key: absolute(getattr(config, key)) for key in ("train_data_dir", "eval_data_dir", "image_root", "teacher")},
    )


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


def shard_of(config: Config, group: Group) -> dict[str, int]:
    """What of the data this rank sees, and how it reads them."""
    return {
        "batch_size": config.per_batch_size, "workers": config.num_parallel_workers, "rank": group.rank,
        "world_size": group.world_size,
    }  # fmt: skip


def augmentation_of(config: Config) -> Augmentation:
    """How training pictures are changed."""
    return Augmentation(config.augmentation, config.auto_augment, config.random_erasing, config.augmentation_streams)


def with_caches(
    config: Config, data: RunData, card: ModelCard, answering: ModelCard, beat: Callable[[], None]
) -> RunData:
    """The data with what `cache` keeps of the training and of the held-out pictures; filled now where it is missing,
    but not for the few steps of `dry_run` and `lr_find`.
    """
    stages = stages_of_training(
        data.training, card.preprocessing, augmentation_of(config), sizes=config.progressive_size
    )
    wanted = [Wanted(data.training, "training", stages)]
    if data.held_out:
        stage = evaluation_stage(answering.preprocessing, data.held_out.form)
        wanted.append(Wanted(data.held_out, "held-out", [stage]))
    training, *held_out = open_caches(
        config.cache, wanted, workers=config.num_parallel_workers, beat=beat,
        fills=not (config.dry_run or config.lr_find),
    )  # fmt: skip
    return replace(data, training=training, held_out=held_out[0] if held_out else data.held_out)


def build_batches(config: Config, training: Source, card: ModelCard, group: Group) -> Callable[..., Iterator[Batch]]:
    """(*, epoch, first_image, first_batch) -> the batches that this rank trains on, augmented and mixed."""
    how = TrainingInput(
        augmentation=augmentation_of(config), seed=config.seed, balanced=config.balanced_sampling,
        **shard_of(config, group),
    )  # fmt: skip

    def of_its_size(epoch: int, **place: int) -> Iterator[Batch]:
        size = size_of_epoch(config.progressive_size, epoch, config.max_epoch)
        return training_batches(training, card.preprocessing, how, epoch=epoch, size=size, **place)

    if not config.mixup and not config.cutmix:
        return of_its_size
    return partial(
        mixed_batches, of_its_size, Mixing(config.mixup, config.cutmix, config.seed), rank=group.rank,
        images_per_batch=config.per_batch_size * group.world_size,
    )  # fmt: skip


def build_plan(config: Config, num_images: int, group: Group) -> Plan:
    """How many steps and epochs, and after which of them something is due."""
    return Plan(
        max_epoch=config.max_epoch, num_images=num_images, batch_size=config.per_batch_size,
        world_size=group.world_size, accumulation_steps=config.grad_accumulation_steps,
        log_interval=config.log_interval, eval_interval=config.eval_interval, ckpt_interval=config.ckpt_interval,
        sync_bn_stats=config.sync_bn_stats,
    )  # fmt: skip


def lr_scale(config: Config, plan: Plan) -> int:
    """How many times lr the learning rate is."""
    return plan.images_per_step // plan.batch_size if config.linear_lr_scaling else 1


def build_lr_schedule(config: Config, plan: Plan) -> Schedule:
    """Step since the start of training -> learning rate."""
    scale = lr_scale(config, plan)
    return build_schedule(
        config.lr_scheduler, lr=config.lr * scale, steps_per_epoch=plan.steps_per_epoch, max_epoch=config.max_epoch,
        warmup_epochs=config.warmup_epochs, milestones=config.lr_epochs, gamma=config.lr_gamma,
        eta_min=config.eta_min * scale, t_max=config.T_max, power=config.lr_power,
    )  # fmt: skip


def build_train_step(
    config: Config, card: ModelCard, training: Source, device: str, group: Group, teacher: TeacherFile | None
) -> TrainStep:  # fmt: skip
    """Network, loss and optimizer in one graph."""
    norm_ranks = group.world_size if config.sync_batch_norm else 1
    card.architecture.check_frozen(config.freeze)
    card.architecture.check_batch(card.preprocessing.image_size, config.per_batch_size * norm_ranks)
    check_sizes(
        config.progressive_size, card.preprocessing.image_size, card.architecture, config.per_batch_size * norm_ranks
    )
    amp_level = resolve_amp_level(config.amp_level, device)
    network = build_network(
        card.architecture, device=device, cpu_kernels=config.cpu_kernels, cpu_precision=config.cpu_precision,
        amp_level=amp_level, recompute=config.recompute, seed=config.seed, norm_ranks=norm_ranks,
        is_master=group.is_master, frozen_blocks=config.freeze,
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
        taught = {"teacher": teacher.build(build, group), "teacher_weight": config.teacher_weight,
                  "distillation": build_distillation(card.task, config.teacher_temperature)}  # fmt: skip
    average = WeightAverage(network, config.ema_decay, network.kernels) if config.ema_decay else None
    weights = class_weights(training, config.class_weights, config.class_weight_power, card.class_names)
    return TrainStep(
        network, build_loss(card.task, config.label_smooth_factor if config.label_smooth else 0.0, weights), optimizer,
        scaling=resolve_loss_scaling(config.loss_scale_type, config.loss_scale, amp_level),
        max_norm=config.grad_clip_norm, accumulation_steps=config.grad_accumulation_steps,
        world_size=group.world_size, decide_together=device == "Ascend", average=average, **taught,
        graph_cache=open_graph_cache(config.graph_cache, device),
    )  # fmt: skip
