"""A trained network as a thing to use, whatever kind of file it comes from.

from src.deploy.model import load_model

model = load_model("output/2026-01-31_time_12_00_00/best.ckpt")  # or an .onnx file
for name, probability in model.predict("holiday.jpg"):
    print(f"{name} {probability:.1%}")
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src.datasets.classification import evaluation_batches, worker_count
from src.datasets.pictures import open_pictures
from src.datasets.preprocessing import Preprocessing
from src.datasets.source import Source
from src.deploy.onnx_session import OnnxModel
from src.model_utils.device_adapter import set_up_device
from src.network.build import build_network
from src.network.grad_cam import GradCam
from src.training.evaluation import Logits, PredictStep, padded
from src.training.evaluation_report import best_classes
from src.training.mirrored import mean_answer, mirrored
from src.training.model_card import model_card_of
from src.utils.checkpoint import load_checkpoint, load_weights
from src.utils.errors import ReportedError, UsageError
from src.utils.files import is_folder
from src.utils.graph_cache import open_graph_cache

ONNX_SUFFIX = ".onnx"
# Images (B, C, S, S) float32 -> logits (B, num_classes), and the heat of the highest one (B, h, w), both float32.
Heat = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Answer:
    """What a model says to one picture.

    index: which one of the source. classes, probabilities: the most probable ones, best first. image: the network's
    input, float32 (C, S, S). heat: float32 (h, w), see `GradCam`; None where it was not asked for.
    """

    index: int
    classes: np.ndarray
    probabilities: np.ndarray
    image: np.ndarray
    heat: np.ndarray | None


@dataclass(frozen=True)
class Model:
    """A trained network: how a picture becomes its input, one name for each output, and itself as a function.

    heat: None unless the model was loaded with heat_maps. fixed_batch: each batch size is compiled anew. tta: answers
    are those of a picture and its mirror image together (`mean_answer`); heat maps are of the picture's own answer.
    """

    path: Path
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    logits: Logits
    heat: Heat | None
    fixed_batch: bool
    task: str = "single"
    tta: bool = False

    def predict(self, picture: str | Path | np.ndarray, top: int = 5) -> list[tuple[str, float]]:
        """The names of the `top` most probable classes of one picture, best first, with their probabilities.

        picture: the path of a file, or pixels, uint8 (H, W, 3), red first. Raises ReportedError for a file that is no
        picture that can be decoded, UsageError for a folder or another array.
        """
        if isinstance(picture, np.ndarray):
            source = _pixels(picture)
        elif is_folder(Path(picture)):
            raise UsageError(f"found the folder {picture}, expected one picture; predict.py takes folders")
        else:
            source = open_pictures(Path(picture))
        (answer,) = self.answers(source, top=top, batch_size=1, workers=1)
        return self.named(answer)

    def named(self, answer: Answer) -> list[tuple[str, float]]:
        """The classes of an answer by name, with their probabilities."""
        names = [self.class_names[c] for c in answer.classes]
        return list(zip(names, answer.probabilities.tolist(), strict=True))

    def answers(
        self, source: Source, *, top: int, batch_size: int, workers: int, with_heat: bool = False
    ) -> Iterator[Answer]:
        """Yield an answer for each picture of `source` in its order. Raises ReportedError, see `evaluation_batches`."""
        batch_size = min(batch_size, len(source))
        batches = evaluation_batches(source, self.preprocessing, batch_size=batch_size, workers=workers)
        for images, _, indices in batches:
            given = padded(images, batch_size) if self.fixed_batch else images
            logits, heat = self.heat(given) if with_heat else (self.logits(given), [None] * len(images))
            if self.tta:
                logits = mean_answer(logits, self.logits(mirrored(given)), self.task)
            best = best_classes(logits[: len(images)], top, self.task)
            for i, image, (classes, probabilities), one in zip(indices, images, best, heat, strict=False):
                yield Answer(int(i), classes, probabilities, image, one)


def load_model(
    path: str | Path,
    *,
    device_target: str = "auto",
    device_id: int | None = None,
    workers: int = 0,
    cpu_kernels: str = "auto",
    cpu_precision: str = "fp32",
    graph_cache: str = "auto",
    heat_maps: bool = False,
    weights: str = "auto",
    tta: bool = False,
) -> Model:
    """Load a checkpoint of train.py or convert_weights, or an ONNX model of export.py (by its ending).

    The others are keys of predict.py (docs/configuration.md); workers: threads of an ONNX model, 0: as the machine
    allows. Raises ReportedError for a file that is neither, or a device that is not there.
    """
    path = Path(path)
    if path.suffix.lower() == ONNX_SUFFIX:
        threads = worker_count(workers)
        onnx_model = OnnxModel(path, device_target, threads, device_id or 0, keeps_features=heat_maps)
        manifest = onnx_model.manifest
        heat = onnx_model.heat if heat_maps else None
        return Model(
            path, manifest.preprocessing, manifest.class_names, onnx_model, heat, fixed_batch=False, task=manifest.task,
            tta=tta,
        )  # fmt: skip
    checkpoint = load_checkpoint(path)
    if not checkpoint.metadata:
        raise ReportedError(
            f"{path} holds weights alone, expected a checkpoint that says how pictures become its input; make one of "
            "it: python -m src.deploy.convert_weights"
        )
    card = model_card_of(checkpoint)
    device = set_up_device(device_target, device_id, deterministic=True)
    network = build_network(
        card.architecture,
        device=device,
        cpu_kernels=cpu_kernels,
        cpu_precision=cpu_precision,
        keeps_features=heat_maps,
    )
    load_weights(network, checkpoint, weights=weights)
    step = GradCam if heat_maps else PredictStep
    step = step(network, card.temperature, open_graph_cache(graph_cache, device))
    heat = step if heat_maps else None
    return Model(
        path, card.preprocessing, card.class_names, step.logits, heat, fixed_batch=True, task=card.task, tta=tta
    )


def _pixels(picture: np.ndarray) -> Source:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise UsageError(
            f"found an array {picture.shape} of {picture.dtype}, expected a picture: uint8 (height, width, 3), red "
            "first"
        )
    return Source("pictures", (), np.zeros(1, np.int32), False, lambda _: picture, lambda _: "the array")
