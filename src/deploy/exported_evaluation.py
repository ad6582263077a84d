"""An exported model evaluated as eval.py evaluates its checkpoint: same data, same counter, same files."""

from pathlib import Path

from src.datasets.reading import Reading, as_task
from src.datasets.usable import describe, open_usable
from src.deploy.manifest import Manifest
from src.model_utils.group import ALONE
from src.training.evaluation import Counter, Logits
from src.training.evaluation_report import evaluate_and_report
from src.training.mirrored import MIRRORED, Answering
from src.training.run_folder import log_name, open_run_folder
from src.utils.logging import get_logger, log_file


def evaluate_exported(
    model: Logits,
    manifest: Manifest,
    *,
    described: str,
    command: str,
    root: Path,
    dataset: str,
    data_dir: str,
    reading: Reading,
    on_bad_image: str,
    batch_size: int,
    workers: int,
    predictions: str = "",
    tta: bool = False,
) -> Counter:
    """Evaluate `model` in a run folder of its own below `root` and return what was counted.

    described: the model, for the log. command: whose log it is. The others are keys of eval.py. Raises ReportedError.
    """
    answers = Answering(model, manifest.task, mirrors=tta)
    with open_run_folder(root, ALONE) as folder, log_file(folder / log_name(command, ALONE.rank)):
        get_logger().info("results in %s, %s%s", folder, described, f"; {MIRRORED}" if tta else "")
        source = open_usable(
            dataset,
            data_dir,
            split="eval",
            on_bad_image=on_bad_image,
            workers=workers,
            folder=folder,
            reading=reading,
        )
        source = as_task(source, manifest.task).for_network(manifest.class_names)
        describe(source, "eval")
        return evaluate_and_report(
            answers,
            source,
            manifest.preprocessing,
            folder,
            batch_size=batch_size,
            workers=workers,
            predictions=predictions,
        )
