"""Evaluate an exported ONNX model in ONNX Runtime as eval.py evaluates its checkpoint, or name what pictures show.

python eval_onnx.py --ckpt_files densenet121.onnx --eval_data_dir DIR/val
python eval_onnx.py --ckpt_files densenet121.onnx --eval_data_dir DIR/val --device_target GPU --predictions answers.csv
python eval_onnx.py --ckpt_files densenet121.onnx --images holiday.jpg
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from src.utils.signals import hold_interrupts

if __name__ == "__main__":
    hold_interrupts()  # before the imports below start threads

from src.datasets.classification import evaluation_batches, worker_count
from src.deploy.answers import as_line, usable_pictures
from src.deploy.exported_evaluation import evaluate_exported
from src.deploy.onnx_session import OnnxModel
from src.model_utils.config import Config, parse
from src.schema.doubts import doubts
from src.training.evaluation import Counter, Logits, predict
from src.training.evaluation_report import check_result
from src.training.mirrored import Answering
from src.utils.best_classes import best_classes
from src.utils.errors import UsageError, run
from src.utils.logging import get_logger


def main(argv: Sequence[str]) -> Counter | None:
    """Evaluate as the command line `argv` says and return the accuracy; with --images print answers instead."""
    config = parse("eval_onnx", argv, __doc__)
    if config.predictions:
        check_result("predictions", Path(config.predictions), config.ckpt_files, 1)
    workers = worker_count(config.num_parallel_workers)
    model = OnnxModel(Path(config.ckpt_files), config.device_target, workers, config.device_id)
    own_net = model.manifest.architecture.net
    if (config.given("net") or own_net) != own_net:
        raise UsageError(f"net is {config.net}, but {config.ckpt_files} is a {own_net}; leave --net out")
    for doubt in doubts(config):
        get_logger().warning("%s", doubt)
    if config.images:
        answers = Answering(model, model.manifest.task, mirrors=config.tta)
        print_answers(model, answers, config, workers)
        return None
    dataset, data_dir = config.data_set("eval_data_dir", {"dataset": model.manifest.dataset})
    return evaluate_exported(
        model,
        model.manifest,
        described=f"model {config.ckpt_files} on {model.provider}",
        command="eval_onnx",
        root=Path(config.save_ckpt_path),
        dataset=dataset,
        data_dir=data_dir,
        reading=model.manifest.reading(config.given("image_root"), config.given("uncertain")),
        on_bad_image=config.on_bad_image,
        batch_size=config.per_batch_size,
        workers=workers,
        predictions=config.predictions,
        tta=config.tta,
    )


def print_answers(model: OnnxModel, answers: Logits, config: Config, workers: int) -> None:
    """One line a picture: its name and the five most probable classes."""
    source, names = usable_pictures(Path(config.images), config.on_bad_image, workers), model.manifest.class_names
    batches = evaluation_batches(
        source, model.manifest.preprocessing, batch_size=config.per_batch_size, workers=workers
    )
    for logits, _, indices in predict(answers, batches, batch_size=0):
        for i, (best, probabilities) in zip(indices, best_classes(logits, 5, model.manifest.task), strict=True):
            named = [(names[c], p) for c, p in zip(best, probabilities, strict=True)]
            print(as_line(source.image_name(i), named, unknown_below=0.0))


if __name__ == "__main__":
    sys.exit(run(main))
