"""An ONNX model that takes pictures as they are, compared with the pipeline before anyone gets to see it."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from src.datasets.classification import evaluation_batches
from src.datasets.preprocessing import Preprocessing
from src.datasets.preprocessing_choices import DECODED
from src.datasets.source import Source
from src.deploy.manifest import INPUT_NAME, PICTURES_NAME, PROBABILITIES_NAME, Manifest
from src.deploy.onnx_file import seal
from src.deploy.onnx_preprocessing import preprocessing_alone, with_preprocessing
from src.training.evaluation import Logits
from src.utils.best_classes import probabilities_of
from src.utils.errors import ReportedError
from src.utils.scikit_learn import sample_photographs

LEVELS = 1.0  # of 255, that an input may differ by; it does not with the versions that are tested
PROBABILITY = {"float32": 1e-4, "float16": 2e-2}
# Height and width of the photographs' parts: wide, tall, small, and what OpenCV and Pillow treat in ways of their own.
_SHAPES = ((427, 640), (427, 213), (60, 81), (300, 200))


def include_preprocessing(path: Path, manifest: Manifest, model: Logits, threads: int) -> dict[str, object]:
    """Have the ONNX file at `path` take pictures and give probabilities; return what was compared.

    model: the same network, from images to logits. Raises ReportedError when inputs or probabilities are not those of
    the pipeline.
    """
    whole = with_preprocessing(onnx.load(path), manifest.preprocessing, manifest.activation)
    seal(whole, json.dumps(manifest.to_dict()))
    onnx.checker.check_model(whole, full_check=True)
    path.write_bytes(whole.SerializeToString())
    asked = _session(whole, threads)
    first = _session(preprocessing_alone(manifest.preprocessing), threads)
    pictures = photographs(manifest.preprocessing)
    inputs, probabilities = [], []
    for picture, image in zip(pictures, _inputs(pictures, manifest.preprocessing), strict=True):
        (made,) = first.run([INPUT_NAME], {PICTURES_NAME: picture[None]})
        step = 1 / (255 * np.reshape(manifest.preprocessing.std, (3, 1, 1)))
        inputs.append(float((np.abs(made[0] - image) / step).max()))
        (found,) = asked.run([PROBABILITIES_NAME], {PICTURES_NAME: np.stack([picture, picture])})
        probabilities.append(float(np.abs(found - probabilities_of(model(image[None]), manifest.task)).max()))
    limit = PROBABILITY[manifest.precision]
    if not (max(inputs) <= LEVELS and max(probabilities) <= limit):
        raise ReportedError(
            f"the model's own preprocessing differs from the pipeline's by {max(inputs):.2g} levels of 255 and "
            f"{max(probabilities):.1e} in the probabilities, more than {LEVELS:g} and {limit:g}; it is not kept; "
            "please report this with the versions of onnxruntime and Pillow"
        )
    return {
        "photographs": len(pictures),
        "largest_difference_of_inputs_in_levels": max(inputs),
        "largest_difference_of_probabilities": max(probabilities),
    }


def photographs(preprocessing: Preprocessing) -> list[np.ndarray]:
    """Parts of scikit-learn's two photographs, uint8 (H, W, 3), of several shapes."""
    size = preprocessing.resized_to
    wholes = [np.tile(photograph, (-(-2 * size // 427), -(-2 * size // 427), 1)) for photograph in
              sample_photographs()]  # fmt: skip
    shapes = (*_SHAPES, (size, size), (2 * size, 2 * size))
    return [np.ascontiguousarray(whole[:height, :width]) for height, width in shapes for whole in wholes]


def _inputs(pictures: list[np.ndarray], preprocessing: Preprocessing) -> list[np.ndarray]:
    labels = np.zeros(len(pictures), np.int32)
    source = Source("pictures", ("picture",), labels, DECODED, pictures.__getitem__, str)
    return [images[0] for images, *_ in evaluation_batches(source, preprocessing, batch_size=1, workers=1)]


def _session(model: onnx.ModelProto, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
