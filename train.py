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

from src.datasets.classification import evaluation_batches, training_batches, worker_count
from src.datasets.preprocessing import default_preprocessing
from src.datasets.preview import save_preview
from src.datasets.usable import open_usable
from src.losses.crossentropy import CrossEntropy
from src.lr_scheduler.lr_scheduler import build_schedule
from src.model_utils.config import Config, architecture_overrides, parse, save_config
from src.model_utils.device_adapter import set_up_device
from src.model_utils.group import Group, join_group
from src.model_utils.local_adapter import launcher_place
from src.model_utils.moxing_adapter import modelarts
from src.network.architecture import architecture
from src.network.build import build_network
from src.network.mixed_precision import resolve_amp_level
from src.optimizers.sgd import SGD
from src.training.evaluation import PredictStep, evaluate
from src.training.plan import Plan
from src.training.progress import Progress
from src.training.recorder import Recorder
from src.training.run_data import absolute, open_run_data, share_pretrained
from src.training.run_folder import log_name, open_run_folder, share_checkpoint
from src.training.saver import Saver
from src.training.step import TrainStep, resolve_loss_scaling
from src.training.trainer import Trainer
from src.utils.checkpoint import Checkpoint, load_training_state, load_weights
from src.utils.errors import run
from src.utils.files import write_text_atomically
from src.utils.graph_cache import open_graph_cache
from src.utils.job_status import JobStatus
from src.utils.logging import get_logger, log_file
from src.utils.plotting import write_picture


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
    if checkpoint:
        config = config.on_top_of(checkpoint.require("recipe"), str(checkpoint.path))
    config = config.replace(
        # The augmentation's random streams belong to the workers: their number is part of what a resumed run repeats.
        num_parallel_workers=worker_count(config.num_parallel_workers),
        train_data_dir=absolute(config.train_data_dir),  # a run is resumed from any folder
        eval_data_dir=absolute(config.eval_data_dir),
    )
    with (
        open_run_folder(root, group, checkpoint, config.resume) as folder,
        log_file(folder / log_name("train", group.rank)),
    ):
        get_logger().info("run folder %s, device %s; %s", folder, device, joined)
        for key in config.ignored:
            get_logger().warning("train.py does not use --%s", key)
        unreached = [epoch for epoch in config.lr_epochs if epoch >= config.max_epoch]
        if unreached and config.lr_scheduler == "exponential":
            get_logger().warning("lr_epochs %s will not be reached: max_epoch is %d", unreached, config.max_epoch)
        if group.is_master:
            save_config(config, folder)
            status.run_folder(folder)
        return train(config, device, group, folder, checkpoint, status)


def train(
    config: Config, device: str, group: Group, folder: Path, checkpoint: Checkpoint | None, status: JobStatus
) -> Progress:
    """The recipe: data, network, step, schedule, loop."""
    workers, seed, batch_size = config.num_parallel_workers, config.seed, config.per_batch_size
    pretrained, names = share_pretrained(config.train_pretrained, group)
    data = open_run_data(
        partial(open_usable, config.dataset, on_bad_image=config.on_bad_image, workers=workers, folder=folder),
        config.train_data_dir,
        config.eval_data_dir,
        num_classes=config.num_classes,
        is_asked_for=lambda key: config.given(key) is not None,
        checkpoint=checkpoint,
        pretrained_names=None if config.reset_head else names,
        is_master=group.is_master,
    )
    source, class_names = data.training, data.class_names
    preprocessing = default_preprocessing(config.dataset, config.image_size)

    arch = architecture(config.net, len(class_names), **architecture_overrides(config))
    norm_ranks = group.world_size if config.sync_batch_norm else 1
    arch.check_batch(
        preprocessing.image_size, batch_size * norm_ranks
    )  # or when the image is too small for the network
    amp_level = resolve_amp_level(config.amp_level, device)
    network = build_network(
        arch,
        device=device,
        cpu_kernels=config.cpu_kernels,
        cpu_precision=config.cpu_precision,
        amp_level=amp_level,
        recompute=config.recompute,
        seed=seed,
        norm_ranks=norm_ranks,
        trains=True,
        is_master=group.is_master,
    )
    if pretrained:
        load_weights(network, pretrained, reset_head=config.reset_head)
    optimizer = SGD(
        network.trainable_params(),
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=config.nesterov,
        decay_norm_and_bias=config.decay_norm_and_bias,
        kernels=network.kernels,
    )
    train_step = TrainStep(
        network,
        CrossEntropy(config.label_smooth_factor if config.label_smooth else 0.0),
        optimizer,
        scaling=resolve_loss_scaling(config.loss_scale_type, config.loss_scale, amp_level),
        max_norm=config.grad_clip_norm,
        accumulation_steps=config.grad_accumulation_steps,
        world_size=group.world_size,
    )
    train_step.graph_cache = graph_cache = open_graph_cache(config.graph_cache, device)

    plan = Plan(
        max_epoch=config.max_epoch,
        num_images=len(source),
        batch_size=batch_size,
        world_size=group.world_size,
        accumulation_steps=config.grad_accumulation_steps,
        log_interval=config.log_interval,
        eval_interval=config.eval_interval,
        ckpt_interval=config.ckpt_interval,
        sync_bn_stats=config.sync_bn_stats,
    )
    scale = plan.images_per_step // batch_size if config.linear_lr_scaling else 1
    schedule = build_schedule(
        config.lr_scheduler,
        lr=config.lr * scale,
        steps_per_epoch=plan.steps_per_epoch,
        max_epoch=config.max_epoch,
        warmup_epochs=config.warmup_epochs,
        milestones=config.lr_epochs,
        gamma=config.lr_gamma,
        eta_min=config.eta_min * scale,
        t_max=config.T_max,
    )
    shard = {"batch_size": batch_size, "workers": workers, "rank": group.rank, "world_size": group.world_size}
    train_batches = partial(
        training_batches, source, preprocessing, augmentation=config.augmentation, seed=seed, **shard
    )
    evaluate_now = None
    if data.held_out:
        predict_step = PredictStep(network)
        predict_step.graph_cache = graph_cache

        def evaluate_now(stop_requested):
            def on_batch(*_):
                status.beat()
                return stop_requested()

            batches = evaluation_batches(data.held_out, preprocessing, **shard)
            counting = {"batch_size": batch_size, "num_classes": len(class_names), "group": group}
            return evaluate(predict_step.set_train(False).logits, batches, **counting, on_batch=on_batch)

    progress = Progress()
    if checkpoint:
        if group.is_master:
            load_training_state(train_step.saved_parameters(), checkpoint)
        progress = Progress.from_dict(checkpoint.require("progress"))
        get_logger().info("resumed from %s", checkpoint.path)
        if data.is_new_held_out:
            progress.best_top1 = -1.0
    elif group.is_master:
        write_text_atomically(folder / "class_names.txt", "\n".join(class_names) + "\n")
        images, labels, _ = next(iter(train_batches(epoch=0)))
        write_picture(
            folder / "preview.png", lambda path: save_preview(images, labels, preprocessing, class_names, path)
        )
    group.share_parameters(train_step.saved_parameters())  # what was read from a file, on the master only, too
    get_logger().info(
        "%s (%s parameters) on %d images of %s, %d steps an epoch",
        config.net, f"{sum(p.size for p in network.trainable_params()):,}", len(source), config.dataset,
        plan.steps_per_epoch,
    )  # fmt: skip

    metadata = {
        "architecture": arch.to_dict(),
        "preprocessing": preprocessing.to_dict(),
        "class_names": class_names,
        "data": data.fingerprints,
        "recipe": config.recipe(),
    }
    saves = group.is_master or not config.is_save_on_master
    saver = Saver(folder, train_step, metadata, rank=group.rank, keep=config.keep_checkpoint_max, active=saves)
    recorder = Recorder(folder, progress.history, global_step=plan.steps_done(progress), active=group.is_master)
    return Trainer(
        train_step,
        lambda epoch, image, batch: train_batches(epoch=epoch, first_image=image, first_batch=batch),
        schedule,
        plan,
        progress,
        saver,
        recorder,
        evaluate=evaluate_now,
        group=group,
        beat=status.beat,
    ).run()


if __name__ == "__main__":
    sys.exit(run(main))
