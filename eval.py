"""Evaluate checkpoints on held-out images: exact counts, per-class accuracy, confusion matrix, predictions.

python eval.py --ckpt_files output/2026-01-31_time_12_00_00/best.ckpt
python eval.py --ckpt_files output/2026-01-31_time_12_00_00 --eval_data_dir DIR
python eval.py --ckpt_files best.ckpt --eval_data_dir DIR --predictions answers.csv
python eval.py --engine densenet121.engine --eval_data_dir DIR
python eval.py --net densenet121 --transition_pool max --stem_pool same --ckpt_files zoo.ckpt --eval_data_dir DIR/val
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from src.utils.signals import hold_interrupts

if __name__ == "__main__":
    hold_interrupts()  # before the imports below start threads

from src.datasets.caching import Wanted, open_caches
from src.datasets.class_names import unnamed_classes
from src.datasets.classification import worker_count
from src.datasets.preprocessing import default_preprocessing
from src.datasets.reading import as_task, reading_as_before
from src.datasets.source import Source
from src.datasets.stages import evaluation_stage
from src.datasets.usable import describe, open_usable
from src.deploy.engine_model import EngineModel
from src.deploy.exported_evaluation import evaluate_exported
from src.model_utils.config import Config, architecture_overrides, parse
from src.model_utils.device_adapter import set_up_device
from src.model_utils.group import Group, join_group
from src.model_utils.local_adapter import launcher_place
from src.model_utils.moxing_adapter import modelarts
from src.network.architecture import architecture
from src.network.build import build_network
from src.network.grad_cam import GradCam
from src.report.evaluated import Evaluated
from src.report.outcomes import SeenOutcomes
from src.report.page import write_page
from src.schema.doubts import doubts
from src.training.calibrated import SeenLogits, write_calibrated
from src.training.evaluation import Counter, PredictStep
from src.training.evaluation_report import check_result, evaluate_and_report
from src.training.held_out import held_out_again, split_of_all, with_own_data
from src.training.mirrored import MIRRORED, Answering, joined
from src.training.model_card import ModelCard, model_card_as_asked, warn_of_unsaid_pools
from src.training.run_data import require_same_everywhere
from src.training.run_folder import load_on_all, log_name, open_run_folder, share_checkpoints_to_evaluate
from src.utils.checkpoint import RUN_CONFIG, Checkpoint
from src.utils.errors import ReportedError, UsageError, run
from src.utils.graph_cache import open_graph_cache
from src.utils.job_status import JobStatus
from src.utils.logging import get_logger, log_file


def main(argv: Sequence[str]) -> dict[str, Counter]:
    """Evaluate as the command line `argv` says; return the accuracy of each checkpoint by its path."""
    config = parse("eval", argv, __doc__)
    with modelarts(**config.values_of("modelarts")) as results:
        for key in ("predictions", "report"):
            if path := getattr(config, key):
                config = config.replace(**{key: results / path})
        if config.engine:
            return {config.engine: evaluate_engine(config, results / config.save_ckpt_path)}
        return start(config, results / config.save_ckpt_path)


def evaluate_engine(config: Config, root: Path) -> Counter:
    """Evaluate a file of the CPU engine, which says itself what network it is and how pictures become its input."""
    if launcher_place().world_size > 1:
        raise UsageError("--engine is the work of a single process; run eval.py without a launcher")
    if given := {**config.given_architecture(), **config.given_geometry()}:
        key, value = next(iter(given.items()))
        raise UsageError(f"found {key} {value} with engine {config.engine}, which says it itself; leave it out")
    if config.predictions:
        check_result("predictions", Path(config.predictions), config.engine, 1)
    for doubt in doubts(config):
        get_logger().warning("%s", doubt)
    workers = worker_count(config.num_parallel_workers)
    model = EngineModel(Path(config.engine), config.device_target, config.cpu_precision)
    precision = "int8" if model.manifest.precision == "int8" else config.cpu_precision
    dataset, data_dir = config.data_set("eval_data_dir", {"dataset": model.manifest.dataset})
    return evaluate_exported(
        model,
        model.manifest,
        described=f"engine {config.engine}, {model.instruction_set}, {precision}",
        command="eval",
        root=root,
        dataset=dataset,
        data_dir=data_dir,
        reading=model.manifest.reading(config.given("image_root"), config.given("uncertain")),
        on_bad_image=config.on_bad_image,
        batch_size=config.per_batch_size,
        workers=workers,
        predictions=config.predictions,
        tta=config.tta,
    )


def start(config: Config, root: Path) -> dict[str, Counter]:
    """Find the checkpoints and their data, join the group, and evaluate in a run folder below `root`."""
    device = set_up_device(config.device_target, config.given("device_id"), deterministic=True)
    group, joined = join_group(config.is_distributed, config.rank, config.group_size)
    for key in ("predictions", "report", "calibrate"):
        if getattr(config, key) and group.world_size > 1:
            raise UsageError(f"--{key} is the work of a single process; run eval.py without a launcher")
    checkpoints = share_checkpoints_to_evaluate(Path(config.ckpt_files), group)
    first = checkpoints[0]
    for key in ("predictions", "report"):
        if getattr(config, key):
            check_result(key, Path(getattr(config, key)), config.ckpt_files, len(checkpoints))
    split, run_config = split_of_all(checkpoints), first.metadata.get(RUN_CONFIG)
    # What the run held out lies among its training data, unless other data are named.
    is_own = with_own_data(run_config, split) is not run_config and not config.eval_data_dir
    dataset, data_dir = config.data_set("eval_data_dir", with_own_data(run_config, split))
    with open_run_folder(root, group) as folder, log_file(folder / log_name("eval", group.rank)):
        get_logger().info("results in %s, device %s; %s", folder, device, joined)
        for doubt in doubts(config):
            get_logger().warning("%s", doubt)
        config = config.replace(num_parallel_workers=worker_count(config.num_parallel_workers))
        source = open_usable(
            dataset, data_dir, split="train" if is_own else "eval", on_bad_image=config.on_bad_image,
            workers=config.num_parallel_workers, folder=folder,
            reading=reading_as_before(run_config, config.given("image_root"), config.given("uncertain")),
        )  # fmt: skip
        if split:
            source = held_out_again(source, split, config.num_parallel_workers, group, is_own=is_own)
        if group.world_size > 1:
            require_same_everywhere(group, {"eval": source.fingerprint()}, source.origin)
        return evaluate_all(config, checkpoints, source, device, group, folder)


def evaluate_all(
    config: Config, checkpoints: Sequence[Checkpoint], source: Source, device: str, group: Group, folder: Path
) -> dict[str, Counter]:
    """Each checkpoint on `source`: what it is, its network, the seed's lines, the report in a folder of its own."""
    status = JobStatus(launcher_place().status_dir, group.rank, device)
    results, stages, predict_step, shown = {}, set(), None, None
    for checkpoint in checkpoints:
        card = card_to_evaluate(config, checkpoint, source)
        # A network is compiled once for all checkpoints that have the same.
        if predict_step is None or not is_of(predict_step, card):
            network = build_network(
                card.architecture,
                device=device,
                cpu_kernels=config.cpu_kernels,
                cpu_precision=config.cpu_precision,
                is_master=group.is_master,
                keeps_features=bool(config.report),
            )
            # A report shows heat maps, from the graph that answers: another one would have to be compiled.
            step = GradCam if config.report else PredictStep
            predict_step = step(network, card.temperature, open_graph_cache(config.graph_cache, device))
        if not load_on_all(predict_step.network, checkpoint, group, config.weights):
            continue
        stage = evaluation_stage(card.preprocessing, source.form)
        if stage not in stages:
            stages.add(stage)
            wanted = [Wanted(source, "held-out", [stage])]
            (source,) = open_caches(config.cache, wanted, workers=config.num_parallel_workers, beat=status.beat)
        matched = as_task(source, card.task).for_network(card.class_names)
        if group.is_master:
            if shown != matched.class_names:
                describe(matched, "eval")
            which = f", {checkpoint.chosen_weights(config.weights)} weights" if checkpoint.has_average else ""
            get_logger().info("checkpoint %s%s%s", checkpoint.path, which, f"; {MIRRORED}" if config.tta else "")
        shown = matched.class_names
        own_folder = folder if len(checkpoints) == 1 else folder / checkpoint.path.stem
        answering = Answering(predict_step.logits, card.task, mirrors=config.tta)
        # Without its temperature a mean of two views is another one: it cannot be had from the mean alone.
        keeps_views = config.tta and config.report and card.task == "multilabel"
        seen = SeenLogits() if config.calibrate or keeps_views else None
        outcomes = SeenOutcomes(card.temperature) if config.report and card.task == "single" else None
        results[str(checkpoint.path)] = accuracy = evaluate_and_report(
            answering,
            matched,
            card.preprocessing,
            own_folder,
            batch_size=config.per_batch_size,
            workers=config.num_parallel_workers,
            group=group,
            predictions=config.predictions,
            beat=status.beat,
            watchers=[answering.watched_by(one.add) for one in (seen, outcomes) if one],
        )
        card = replace(card, class_names=matched.class_names)
        if config.calibrate:
            get_logger().info("%s", write_calibrated(checkpoint, predict_step.network, card, seen, own_folder))
        if config.report:
            evaluated = Evaluated(
                checkpoint, card, matched, accuracy, outcomes and outcomes.all(), predict_step, config.per_batch_size,
                config.num_parallel_workers, mirrors=config.tta,
                plain_logits=joined(seen.all()[0] * card.temperature, card.task) if keeps_views else None,
            )  # fmt: skip
            write_page(Path(config.report), evaluated)
            get_logger().info("report: %s", config.report)
    if not results:
        raise ReportedError(f"the checkpoints in {config.ckpt_files} were removed before they were read; start again")
    return results


def is_of(predict_step: PredictStep | GradCam, card: ModelCard) -> bool:
    """Whether the step, compiled for another checkpoint, is that of this card as well."""
    return (predict_step.network.architecture, predict_step.temperature) == (card.architecture, card.temperature)


def card_to_evaluate(config: Config, checkpoint: Checkpoint, source: Source) -> ModelCard:
    """What the checkpoint says, or for a foreign one the flags and the data set."""
    if checkpoint.metadata:
        return model_card_as_asked(checkpoint, config.given_architecture(), **config.given_geometry())
    warn_of_unsaid_pools(checkpoint.path, config.net, config.given_architecture())
    names = unnamed_classes(config.num_classes or len(source.class_names))
    arch = architecture(config.net, len(names), **architecture_overrides(config))
    return ModelCard(arch, default_preprocessing(source.dataset, **config.geometry()), names, task=source.task)


if __name__ == "__main__":
    sys.exit(run(main))
