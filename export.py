"""Export a checkpoint: ONNX (ONNX Runtime), MINDIR (MindSpore, MindSpore Lite), AIR (Ascend), ENGINE (our own, CPUs).

python export.py --ckpt_file output/2026-01-31_time_12_00_00/best.ckpt --file_format ONNX
python export.py --ckpt_file best.ckpt --file_format ENGINE --file_name flowers
python export.py --ckpt_file best.ckpt --file_format MINDIR --batch_size 32 --mindir_version 1
python export.py --ckpt_file best.ckpt --file_format ONNX --quantize --file_name small
python export.py --ckpt_file best.ckpt --file_format ENGINE --quantize --file_name fast
python export.py --net densenet121 --transition_pool max --stem_pool same --ckpt_file zoo.ckpt --file_format ONNX
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from src.utils.signals import hold_interrupts

if __name__ == "__main__":
    hold_interrupts()  # before the imports below start threads

from src.datasets.class_names import unnamed_classes
from src.datasets.classification import Batch, evaluation_batches, worker_count
from src.datasets.preprocessing import default_preprocessing
from src.datasets.reading import as_task, reading_as_before
from src.datasets.sources import open_source
from src.datasets.usable import describe, refuse_undecodable
from src.deploy.export import ANY_BATCH, SUFFIXES, export_model
from src.deploy.manifest import Manifest, manifest_path
from src.deploy.publish import require_new_model
from src.deploy.quantize import export_quantized
from src.model_utils.config import Config, architecture_overrides, parse
from src.model_utils.device_adapter import set_up_device
from src.model_utils.moxing_adapter import modelarts
from src.network.densenet import DenseNet, architecture
from src.schema.doubts import doubts
from src.training.evaluation import PredictStep
from src.training.held_out import held_out_again, split_of, with_own_data
from src.training.model_card import ACTIVATIONS, ModelCard, model_card_as_asked, warn_of_unsaid_pools
from src.utils.checkpoint import RUN_CONFIG, Checkpoint, load_checkpoint, load_weights
from src.utils.errors import ReportedError, UsageError, run
from src.utils.logging import get_logger

CALIBRATION_BATCH, MEASURED_BATCH = 8, 32  # images; while calibrating, all intermediate results of a batch are kept


def main(argv: Sequence[str]) -> Path:
    """Export as the command line `argv` says; return the model's path."""
    config = parse("export", argv, __doc__)
    with modelarts(**config.values_of("modelarts")) as results:
        return start(config, results)


def start(config: Config, results: Path) -> Path:
    """Export to a file below `results`; return its path."""
    checkpoint = load_checkpoint(config.ckpt_file)
    card = card_to_export(config, checkpoint)
    if config.include_preprocessing and card.preprocessing.input_channels != 3:
        raise UsageError(
            "found include_preprocessing true for a network of one channel, expected one of colours: grey pictures may "
            "have 16 bits; leave it out"
        )
    suffix = SUFFIXES[config.file_format]
    name = config.file_name.removesuffix(suffix) if config.file_name else card.architecture.net
    path = results / (name + suffix)
    check_target(path)
    device = set_up_device(config.device_target, config.given("device_id"), deterministic=True)
    if config.file_format == "AIR" and device != "Ascend":
        raise ReportedError(f"AIR is written on an Ascend only, and this is a {device}; export a MINDIR or ONNX here")
    for doubt in doubts(config):
        get_logger().warning("%s", doubt)
    run_config = checkpoint.metadata.get(RUN_CONFIG)
    manifest = Manifest(
        file_format=config.file_format,
        precision="float16" if config.export_fp16 else "int8" if config.quantize else "float32",
        batch_size=0 if config.file_format in ANY_BATCH else config.batch_size,
        dataset=config.kind_of_data(run_config),
        architecture=card.architecture,
        preprocessing=card.preprocessing,
        class_names=card.class_names,
        mindir_version=config.mindir_version if config.file_format == "MINDIR" else None,
        temperature=card.temperature,
        activation=ACTIVATIONS[card.task],
        includes_preprocessing=config.include_preprocessing,
        uncertain=reading_as_before(run_config, None, config.given("uncertain")).uncertain,
    )
    network = DenseNet(card.architecture)
    load_weights(network, checkpoint, weights=config.weights)
    step = PredictStep(network, card.temperature)
    threads = worker_count(config.num_parallel_workers)
    if config.quantize:
        calibration = batches(config, "train_data_dir", checkpoint, card, CALIBRATION_BATCH, threads)
        held_out = batches(config, "eval_data_dir", checkpoint, card, MEASURED_BATCH, threads)
        manifest = export_quantized(step, manifest, path, calibration, held_out, threads=threads)
    else:
        manifest = export_model(step, manifest, path, threads=threads)
    get_logger().info("%s (%.1f MB) and %s", path, path.stat().st_size / 1e6, manifest_path(path).name)
    measured = (
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in manifest.verified.items()
    )
    get_logger().info("verified: %s", ", ".join(measured))
    return path


def check_target(path: Path) -> None:
    """Raise UsageError, before the work, when the model could not be written after it."""
    if not path.suffix:  # /some/folder/.onnx
        raise UsageError(
            f"file_name {path.parent}/ ends in no name; give one for the model, such as {path.parent}/model"
        )
    require_new_model(path)


def card_to_export(config: Config, checkpoint: Checkpoint) -> ModelCard:
    """What the checkpoint says, or for a foreign one the flags."""
    if checkpoint.metadata:
        return model_card_as_asked(checkpoint, config.given_architecture(), **config.given_geometry())
    warn_of_unsaid_pools(checkpoint.path, config.net, config.given_architecture())
    head = checkpoint.arrays.shapes.get("head.fc.weight", ())
    classes = config.given("num_classes") or (head[0] if len(head) == 2 else config.num_classes)
    arch = architecture(config.net, classes, **architecture_overrides(config))
    return ModelCard(arch, default_preprocessing(config.dataset, **config.geometry()), unnamed_classes(classes))


def batches(
    config: Config, key: str, checkpoint: Checkpoint, card: ModelCard, batch_size: int, workers: int
) -> Iterator[Batch]:
    """The images under `key`: of training data as many as calibrate, of held-out data all."""
    held_out, run_config = split_of(checkpoint), checkpoint.metadata.get(RUN_CONFIG)
    known = with_own_data(run_config, held_out)
    is_own = known is not run_config and not getattr(config, key)
    dataset, path = config.data_set(key, known)
    split = key.removesuffix("_data_dir")
    reading = reading_as_before(run_config, config.given("image_root"), config.given("uncertain"))
    source = open_source(dataset, path, split="train" if is_own else split, reading=reading)
    source = as_task(source, card.task).for_network(card.class_names)
    refuse_undecodable(source)
    if held_out and is_own:
        source = held_out_again(source, held_out, workers, is_own=True, rest=split == "train")
    describe(source, split)
    if split == "train":
        source = source.subset(np.random.default_rng(0).permutation(len(source))[: config.calibration_images])
    return evaluation_batches(source, card.preprocessing, batch_size=batch_size, workers=workers)


if __name__ == "__main__":
    sys.exit(run(main))
