"""Say what pictures show, with any trained model: a checkpoint, an ONNX model or a file of the CPU engine.

python predict.py --model output/2026-01-31_time_12_00_00/best.ckpt --images holiday.jpg
python predict.py --model densenet121.onnx --images DIR --top 3 --output answers.csv
python predict.py --model densenet121.engine --images holiday.jpg
python predict.py --model best.ckpt --images DIR --heatmap heat
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from src.utils.signals import hold_interrupts

if __name__ == "__main__":
    hold_interrupts()  # before the imports below start threads

from src.datasets.classification import worker_count
from src.datasets.source import Source
from src.deploy.answers import WRITERS, Named, as_line, usable_pictures
from src.deploy.heat_picture import write_heat_picture
from src.deploy.model import Model, import_runtime, load_model
from src.model_utils.config import Config, parse
from src.schema.doubts import doubts
from src.utils.errors import UsageError, run
from src.utils.files import require_new, write_new_text
from src.utils.logging import get_logger


def main(argv: Sequence[str]) -> list[tuple[str, Named]]:
    """Answer as the command line `argv` says; return each picture's name and its most probable classes."""
    config = parse("predict", argv, __doc__)
    for doubt in doubts(config):
        get_logger().warning("%s", doubt)
    if config.output:
        require_new(Path(config.output))
    import_runtime(Path(config.model))
    workers = worker_count(config.num_parallel_workers)
    source = usable_pictures(Path(config.images), config.on_bad_image, workers)
    if config.heatmap:
        make_room(source, Path(config.heatmap))
    model = load_model(
        config.model,
        device_target=config.device_target,
        device_id=config.given("device_id"),
        workers=workers,
        cpu_kernels=config.cpu_kernels,
        cpu_precision=config.cpu_precision,
        graph_cache=config.graph_cache,
        heat_maps=bool(config.heatmap),
        weights=config.weights,
        tta=config.tta,
    )
    answers = answer_all(model, source, config, workers)
    if config.output:
        write = WRITERS[Path(config.output).suffix.lower()]
        write_new_text(Path(config.output), write(answers, config.unknown_below))
    return answers


def answer_all(model: Model, source: Source, config: Config, workers: int) -> list[tuple[str, Named]]:
    """Print a line for each picture, with --heatmap after its heat map is written."""
    answers = []
    settings = {"top": config.top, "batch_size": config.per_batch_size, "workers": workers}
    for answer in model.answers(source, **settings, with_heat=bool(config.heatmap)):
        name, best = source.image_name(answer.index), model.named(answer)
        if config.heatmap:
            title = f"{best[0][0]} {100 * best[0][1]:.2f} %"
            write_heat_picture(heat_file(config.heatmap, name), answer.image, model.preprocessing, answer.heat, title)
        print(as_line(name, best, config.unknown_below))
        answers.append((name, best))
    return answers


def make_room(source: Source, folder: Path) -> None:
    """Make the folder for heat maps. Raises UsageError when one of them is there already, or the folder cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"heatmap {folder} cannot become a folder: {error.strerror}; choose another name") from error
    for i in range(len(source)):
        require_new(heat_file(folder, source.image_name(i)))


def heat_file(folder: str | Path, image: str) -> Path:
    """`DIR/cat.jpg.png` for `cat.jpg`."""
    return Path(folder, f"{image.replace('/', '_')}.png")


if __name__ == "__main__":
    sys.exit(run(main))
