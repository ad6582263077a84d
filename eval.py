"""Evaluate checkpoints on held-out images: exact counts, per-class accuracy, confusion matrix, predictions.

python eval.py --ckpt_files output/2026-01-31_time_12_00_00/best.ckpt
python eval.py --ckpt_files output/2026-01-31_time_12_00_00 --eval_data_dir DIR
python eval.py --ckpt_files best.ckpt --eval_data_dir DIR --predictions answers.csv
python eval.py --net densenet121 --transition_pool max --stem_pool same --ckpt_files zoo.ckpt --eval_data_dir DIR/val
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from src.utils.signals import hold_interrupts

if __name__ == "__main__":
    hold_interrupts()  # before the imports below start threads

from src.datasets.class_names import unnamed_classes
from src.datasets.classification import worker_count
from src.datasets.preprocessing import default_preprocessing
from src.datasets.source import Source
from src.datasets.usable import describe, open_usable
from src.model_utils.config import Config, architecture_overrides, parse
from src.model_utils.device_adapter import set_up_device
from src.model_utils.group import Group, join_group
from src.model_utils.local_adapter import launcher_place
from src.model_utils.moxing_adapter import modelarts
from src.network.architecture import Architecture, architecture
from src.network.build import build_network
from src.network.densenet import DenseNet
from src.training.evaluation import PredictStep
from src.training.evaluation_report import check_predictions, evaluate_and_report
from src.training.recipe import Recipe, recipe_as_asked
from src.training.run_folder import log_name, open_run_folder, share_checkpoints_to_evaluate
from src.utils.accuracy import Accuracy
from src.utils.checkpoint import Checkpoint, load_weights
from src.utils.errors import UsageError, run
from src.utils.graph_cache import open_graph_cache
from src.utils.job_status import JobStatus
from src.utils.logging import get_logger, log_file


def main(argv: Sequence[str]) -> dict[str, Accuracy]:
    """Evaluate as the command line `argv` says; return the accuracy of each checkpoint by its path."""
    config = parse("eval", argv, __doc__)
    with modelarts(**config.values_of("modelarts")) as results:
        if config.predictions:
            config = config.replace(predictions=results / config.predictions)
        return start(config, results / config.save_ckpt_path)


def start(config: Config, root: Path) -> dict[str, Accuracy]:
    """Evaluate in a run folder below `root`."""
    device = set_up_device(config.device_target, config.given("device_id"), deterministic=True)
    group, joined = join_group(config.is_distributed, config.rank, config.group_size)
    checkpoints = share_checkpoints_to_evaluate(Path(config.ckpt_files), group)
    first = checkpoints[0]
    if config.predictions:
        check_predictions(Path(config.predictions), config.ckpt_files, len(checkpoints))
    dataset, data_dir = config.data_set("eval_data_dir", first.metadata.get("recipe"))
    if config.predictions and group.world_size > 1:
        raise UsageError("predictions are written by a single process; run eval.py without a launcher")
    with (
        open_run_folder(root, group) as folder,
        log_file(folder / log_name("eval", group.rank)),
    ):
        get_logger().info("results in %s, device %s; %s", folder, device, joined)
        for key in config.ignored:
            get_logger().warning("eval.py does not use --%s", key)
        workers = worker_count(config.num_parallel_workers)
        source = open_usable(
            dataset, data_dir, split="eval", on_bad_image=config.on_bad_image, workers=workers, folder=folder
        )
        status = JobStatus(launcher_place().status_dir, group.rank)
        evaluator = Evaluator(config, source, device, workers, group, status)
        results = {}
        for checkpoint in checkpoints:
            subfolder = folder if len(checkpoints) == 1 else folder / checkpoint.path.stem
            results[str(checkpoint.path)] = evaluator.evaluate(checkpoint, subfolder)
        return results


class Evaluator:
    """Evaluates one checkpoint after another on `source`; a network is compiled once for all that have the same."""

    def __init__(
        self, config: Config, source: Source, device: str, workers: int, group: Group, status: JobStatus
    ) -> None:
        self.config, self.source, self.device = config, source, device
        self.workers, self.group, self.status = workers, group, status
        self.predict_step: PredictStep | None = None
        self.matched: Source | None = None

    def evaluate(self, checkpoint: Checkpoint, folder: Path) -> Accuracy:
        """Log the seed's lines and write the report of this checkpoint into `folder`."""
        recipe = self._recipe(checkpoint)
        if self.predict_step is None or self.predict_step.network.architecture != recipe.architecture:
            self.predict_step = PredictStep(self._network(recipe.architecture))
            self.predict_step.graph_cache = open_graph_cache(self.config.graph_cache, self.device)
        load_weights(self.predict_step.network, checkpoint)
        source = self.source.for_network(recipe.class_names)
        if self.group.is_master:
            if self.matched is None or self.matched.class_names != source.class_names:
                describe(source, "eval")
            get_logger().info("checkpoint %s", checkpoint.path)
        self.matched = source
        return evaluate_and_report(
            self.predict_step.logits,
            source,
            recipe.preprocessing,
            source.class_names,
            folder,
            batch_size=self.config.per_batch_size,
            workers=self.workers,
            group=self.group,
            predictions=self.config.predictions,
            beat=self.status.beat,
        )

    def _network(self, arch: Architecture) -> DenseNet:
        return build_network(
            arch,
            device=self.device,
            cpu_kernels=self.config.cpu_kernels,
            cpu_precision=self.config.cpu_precision,
            is_master=self.group.is_master,
        )

    def _recipe(self, checkpoint: Checkpoint) -> Recipe:
        config = self.config
        if checkpoint.metadata:
            return recipe_as_asked(checkpoint, config.given_architecture(), config.given("image_size") or 0)
        names = unnamed_classes(config.num_classes or len(self.source.class_names))
        arch = architecture(config.net, len(names), **architecture_overrides(config))
        return Recipe(arch, default_preprocessing(self.source.dataset, config.image_size), names)


if __name__ == "__main__":
    sys.exit(run(main))
