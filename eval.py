"""Evaluate checkpoints on held-out images: exact counts, per-class accuracy, confusion matrix, predictions.

python eval.py --ckpt_files output/2026-01-31_time_12_00_00/best.ckpt
python eval.py --ckpt_files output/2026-01-31_time_12_00_00 --eval_data_dir DIR
python eval.py --ckpt_files best.ckpt --eval_data_dir DIR --predictions answers.csv
python eval.py --net densenet121 --transition_pool max --stem_pool same --ckpt_files zoo.ckpt --eval_data_dir DIR/val
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from src.utils.signals import hold_interrupts

if __name__ == "__main__":
    hold_interrupts()  # before the imports below start threads

from src.datasets.classification import evaluation_batches, worker_count
from src.datasets.preprocessing import default_preprocessing
from src.datasets.source import Source
from src.datasets.usable import fill_class_names, open_usable, used_class_names
from src.model_utils.combinations import missing_data
from src.model_utils.config import Config, architecture_overrides, parse
from src.model_utils.device_adapter import Group, join_group, set_up_device
from src.model_utils.options import DATASETS
from src.network.densenet import DenseNet, architecture
from src.training.evaluation import PredictStep, evaluate
from src.training.evaluation_report import Predictions, write_report
from src.training.recipe import Recipe, class_names_of, recipe_of
from src.training.run_folder import log_name, open_run_folder
from src.utils.accuracy import Accuracy
from src.utils.checkpoint import Checkpoint, checkpoints_to_evaluate, load_checkpoint, load_weights
from src.utils.errors import UsageError, run
from src.utils.files import is_folder
from src.utils.logging import get_logger, log_file


def main(argv: Sequence[str]) -> dict[str, Accuracy]:
    """Evaluate as the command line `argv` says; return the accuracy of each checkpoint by its path."""
    config = parse("eval", argv, __doc__)
    paths = checkpoints_to_evaluate(Path(config.ckpt_files))
    if config.predictions:
        check_predictions(config, paths)
    first = load_checkpoint(paths[0])
    dataset, data_dir = held_out_data(config, first)
    device = set_up_device(config.device_target, config.device_id, deterministic=True)
    group, joined = join_group(config.is_distributed, config.rank, config.group_size)
    if config.predictions and group.world_size > 1:
        raise UsageError("predictions are written by a single process; run eval.py without a launcher")
    with (
        open_run_folder(Path(config.save_ckpt_path), group) as folder,
        log_file(folder / log_name("eval", group.rank)),
    ):
        get_logger().info("results in %s, device %s; %s", folder, device, joined)
        for key in config.ignored:
            get_logger().warning("eval.py does not use --%s", key)
        workers = worker_count(config.num_parallel_workers)
        source = open_usable(
            dataset, data_dir, split="eval", on_bad_image=config.on_bad_image, workers=workers, folder=folder,
            class_names=used_class_names(class_names_of(first)) if first.metadata else None,
        )  # fmt: skip
        evaluator = Evaluator(config, source, workers, group)
        results = {}
        for path in paths:
            subfolder = folder if len(paths) == 1 else folder / path.stem
            results[str(path)] = evaluator.evaluate(load_checkpoint(path), subfolder)
        return results


def check_predictions(config: Config, paths: Sequence[Path]) -> None:
    """Raise UsageError, before the work, when the predictions could not be written after it."""
    path = Path(config.predictions)
    if len(paths) > 1:
        raise UsageError(
            f"predictions are of one checkpoint, and {config.ckpt_files} holds {len(paths)}; name one file"
        )
    if not is_folder(path.parent):
        raise UsageError(f"predictions {path} cannot be written: there is no folder {path.parent}; create it first")
    if os.path.lexists(path):
        raise UsageError(f"predictions {path} exists and is not overwritten; choose another name")


def held_out_data(config: Config, checkpoint: Checkpoint) -> tuple[str, str]:
    """The data set and where it is: what the flags say, else what the checkpoint's run evaluated on."""
    recipe = checkpoint.metadata.get("recipe")
    recipe = recipe if isinstance(recipe, dict) else {}
    dataset = config.dataset
    if config.source("dataset") == "default" and recipe.get("dataset") in DATASETS:
        dataset = recipe["dataset"]
    data_dir = config.eval_data_dir
    if not data_dir and recipe.get("dataset") == dataset and isinstance(recipe.get("eval_data_dir"), str):
        data_dir = recipe["eval_data_dir"]
    if problem := missing_data("eval_data_dir", data_dir, dataset):
        raise UsageError(problem)
    return dataset, data_dir


class Evaluator:
    """Evaluates one checkpoint after another on `source`; a network is compiled once for all that have the same."""

    def __init__(self, config: Config, source: Source, workers: int, group: Group) -> None:
        self.config, self.source, self.group = config, source, group
        self.batching = {"batch_size": config.per_batch_size, "workers": workers}
        self.batching |= {"rank": group.rank, "world_size": group.world_size}
        self.predict_step: PredictStep | None = None

    def evaluate(self, checkpoint: Checkpoint, folder: Path) -> Accuracy:
        """Log the seed's lines and write the report of this checkpoint into `folder`."""
        recipe = self._recipe(checkpoint)
        if self.predict_step is None or self.predict_step.network.architecture != recipe.architecture:
            self.predict_step = PredictStep(DenseNet(recipe.architecture))
        load_weights(self.predict_step.network, checkpoint)
        predictions = Predictions(recipe.class_names) if self.config.predictions else None
        bar = tqdm(total=len(self.source), unit="image", leave=False, disable=None if self.group.is_master else True)

        def on_batch(logits, labels, indices):
            bar.update(len(labels))
            if predictions:
                predictions.add([self.source.image_name(i) for i in indices], labels, logits)

        with bar:
            accuracy = evaluate(
                self.predict_step,
                evaluation_batches(self.source, recipe.preprocessing, **self.batching),
                batch_size=self.config.per_batch_size,
                num_classes=len(recipe.class_names),
                group=self.group,
                on_batch=on_batch,
            )
        if self.group.is_master:
            get_logger().info("checkpoint %s", checkpoint.path)
            for line in accuracy.lines():
                get_logger().info(line)
            folder.mkdir(exist_ok=True)
            write_report(accuracy, recipe.class_names, folder)
            if predictions:
                predictions.write(Path(self.config.predictions))
        return accuracy

    def _recipe(self, checkpoint: Checkpoint) -> Recipe:
        config = self.config
        if checkpoint.metadata:
            recipe = recipe_of(checkpoint)
            for key, asked in config.given_architecture().items():
                own = getattr(recipe.architecture, key)
                if asked != own:
                    raise UsageError(f"{key} is {asked}, but {checkpoint.path} was made with {own}; leave --{key} out")
            if config.image_size and config.source("image_size") != "default":
                return replace(recipe, preprocessing=recipe.preprocessing.at(config.image_size))
            return recipe
        names = fill_class_names(self.source.class_names, config.num_classes)
        arch = architecture(config.net, len(names), **architecture_overrides(config))
        return Recipe(arch, default_preprocessing(self.source.dataset, config.image_size), names)


if __name__ == "__main__":
    sys.exit(run(main))
