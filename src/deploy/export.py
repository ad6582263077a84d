"""A network written for another runtime: loaded back, and compared before anyone gets to see the file."""

import contextlib
import logging
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import mindspore as ms
import numpy as np
import onnx
from mindspore import Tensor, nn
from onnxruntime.transformers import onnx_model
from onnxruntime.transformers.float16 import convert_float_to_float16

from src.datasets.classification import evaluation_batches
from src.datasets.preprocessing import Preprocessing
from src.datasets.preprocessing_choices import DECODED
from src.datasets.source import Source
from src.deploy.engine_file import write_engine_file
from src.deploy.engine_int8 import Inputs
from src.deploy.engine_model import EngineModel
from src.deploy.manifest import INPUT_NAME, OUTPUT_NAME, Manifest
from src.deploy.mindir_v1 import downgrade
from src.deploy.onnx_file import save_onnx
from src.deploy.onnx_session import OnnxModel
from src.deploy.picture_model import include_preprocessing
from src.deploy.publish import publish
from src.training.evaluation import Logits, PredictStep, predict
from src.utils.accuracy import check_finite
from src.utils.checkpoint import quiet_mindspore
from src.utils.errors import ReportedError
from src.utils.files import is_file
from src.utils.scikit_learn import sample_photographs

SUFFIXES = {"AIR": ".air", "MINDIR": ".mindir", "ONNX": ".onnx", "ENGINE": ".engine"}
ANY_BATCH = ("ONNX", "ENGINE")  # formats whose models take any number of images
CHECKED_BATCHES = (1, 7, 32)  # of a model that takes any number of images
# Largest difference to the network's own logits, as a share of its largest logit. float16 has a mantissa of 11 bits.
TOLERANCE = {"float32": 1e-4, "float16": 2e-2}
# The network's own logits are as rounded as its device's float32 convolutions: to HF32 (Ascend A2 and A3) or TF32 (GPUs
# from compute capability 8.0 on) by default, with as many bits as float16. What runs elsewhere is exact.
DEVICE_TOLERANCE = {"Ascend": 1e-2, "GPU": 1e-2}
_REFERENCE_BATCH = 8


def export_model(step: PredictStep, manifest: Manifest, path: Path, *, threads: int) -> Manifest:
    """Write the network of `step` to `path`, its description beside it; return that with what was measured.

    The file gets its name only after it was loaded back and its logits agreed with those of `step`: an ONNX model in
    ONNX Runtime, a MINDIR in MindSpore, an ENGINE in the CPU engine. MindIR version 1 and AIR, which only other tools
    load, are made from the graph of a MINDIR that agreed. An ONNX model that agreed gets its preprocessing if the
    description says so (`include_preprocessing`). Leaves `step` unusable. Raises ReportedError.
    """
    wanted, manifest = manifest, replace(manifest, includes_preprocessing=False)
    batch_size = manifest.batch_size or max(CHECKED_BATCHES)
    images = checked_images(manifest.preprocessing, batch_size * math.ceil(_REFERENCE_BATCH / batch_size))
    rows = ((images[i : i + _REFERENCE_BATCH],) for i in range(0, len(images), _REFERENCE_BATCH))
    expected = np.concatenate([logits for logits, *_ in predict(step.logits, rows, _REFERENCE_BATCH)])
    check_finite(expected)
    with workshop() as folder:
        made = folder / f"model{SUFFIXES[manifest.file_format]}"
        if manifest.file_format == "ONNX":
            write_onnx(step, manifest, made)
            model: Logits = OnnxModel(made, "CPU", threads)
        elif manifest.file_format == "ENGINE":
            write_engine(step, manifest, made)
            model = EngineModel(made)
        else:
            graph = folder / "model.mindir"
            write_mindir(step, manifest, graph)
            model = _load_mindir(graph)
        verified = compare(model, images, expected, manifest)
        if manifest.mindir_version == 1:
            downgrade(made, made)
        elif manifest.file_format == "AIR":
            ms.export(step, _example(manifest), file_name=str(made), file_format="AIR")
        if wanted.includes_preprocessing:
            verified |= include_preprocessing(made, wanted, model, threads)
        manifest = replace(wanted, verified=verified)
        publish(made, manifest, path)
    return manifest


def write_engine(step: PredictStep, manifest: Manifest, path: Path, inputs: Mapping[str, Inputs] | None = None) -> None:
    """The CPU engine's file; inputs: see `write_engine_file`. Raises ReportedError for what its kernels do not have."""
    if inputs is not None and manifest.architecture.transition_pool == "max":
        raise ReportedError(
            "the CPU engine has no INT8 with max pooling between blocks (transition_pool max); export it without "
            "--quantize, or with --file_format ONNX"
        )
    arrays = {one.name: one.asnumpy() for one in step.network.get_parameters()}
    write_engine_file(arrays, manifest, path, inputs)


def write_onnx(step: PredictStep, manifest: Manifest, path: Path) -> None:
    """ONNX with a dynamic batch axis; float16 only inside, input and output stay float32."""
    names = {"input_names": [INPUT_NAME], "output_names": [OUTPUT_NAME]}
    example = _example(replace(manifest, batch_size=1))
    with quiet_mindspore():
        ms.onnx.export(step, example, file_name=str(path), **names, dynamic_axes={INPUT_NAME: {0: "batch"}})
    if not is_file(path):  # it only logs that the disk is full
        raise OSError("MindSpore left no file")
    path.chmod(0o644)
    model = onnx.load(path)
    batch = model.graph.output[0].type.tensor_type.shape.dim[0]  # MindSpore leaves the example's 1 here
    batch.Clear()
    batch.dim_param = "batch"
    if manifest.precision == "float16":
        model = convert_float_to_float16(model, keep_io_types=True)
        # It appends the cast of the input behind all that reads it, which ONNX forbids and ONNX Runtime forgives.
        onnx_model.OnnxModel.graph_topological_sort(model.graph)
    save_onnx(model, manifest, path)


def write_mindir(step: PredictStep, manifest: Manifest, path: Path) -> None:
    """MindIR version 3, as MindSpore writes it; with float16 the weights stay float32 and are cast in the graph."""
    if manifest.precision == "float16":
        step.network.to_float(ms.float16)
        step = PredictStep(step.network, step.temperature)
    ms.export(step, _example(manifest), file_name=str(path), file_format="MINDIR")
    path.chmod(0o644)


def compare(model: Logits, images: np.ndarray, expected: np.ndarray, manifest: Manifest) -> dict:
    """Run all `images` through `model`, in batches of several sizes; return the largest difference to `expected`.

    Raises ReportedError when it is above TOLERANCE, or where `expected` is from an Ascend or a GPU DEVICE_TOLERANCE.
    """
    sizes = (manifest.batch_size,) if manifest.batch_size else CHECKED_BATCHES
    found = [np.concatenate([model(images[i : i + size]) for i in range(0, len(images), size)]) for size in sizes]
    difference = float(np.abs(np.stack(found) - expected).max()) / (float(np.abs(expected).max()) or 1.0)
    tolerance = max(TOLERANCE[manifest.precision], DEVICE_TOLERANCE.get(ms.get_current_device().device_target, 0.0))
    if not difference <= tolerance:
        raise ReportedError(
            f"the exported model's logits differ from the network's by {difference:.1e} of the largest, more than "
            f"{tolerance:g}; it is not kept; please report this with the checkpoint"
        )
    return {"max_relative_difference": difference, "tolerance": tolerance, "batch_sizes": list(sizes)}


def checked_images(preprocessing: Preprocessing, count: int) -> np.ndarray:
    """(count, C, S, S) float32: parts of scikit-learn's two photographs through the pipeline, and random values."""
    photos = sample_photographs()
    random = np.random.default_rng(0)
    corners = random.integers(0, 200, (count, 2))
    labels = np.zeros(-(-count // 2), np.int32)

    def read(i: int) -> np.ndarray:
        top, left = corners[i]
        return photos[i % 2][top:, left:].copy()

    source = Source("folder", ("photo",), labels, DECODED, read, str)
    (batch,) = evaluation_batches(source, preprocessing, batch_size=len(labels), workers=1)
    noise = random.standard_normal((count - len(labels), *batch[0].shape[1:]), np.float32)
    return np.concatenate([batch[0], noise])[random.permutation(count)]


def _example(manifest: Manifest) -> Tensor:
    size = manifest.preprocessing.image_size
    shape = manifest.architecture.input_channels, size, size
    if manifest.batch_size:
        return Tensor(np.zeros((manifest.batch_size, *shape), np.float32))
    return Tensor(shape=[None, *shape], dtype=ms.float32)


def _load_mindir(path: Path) -> Logits:
    graph = nn.GraphCell(ms.load(str(path)))
    return lambda images: graph(Tensor(images)).asnumpy()


@contextlib.contextmanager
def workshop() -> Iterator[Path]:
    """A temporary folder: MindSpore neither writes nor reads models under paths with a space or a letter like é.

    While it is open the libraries are quiet. Raises ReportedError for an OSError in it.
    """
    with _quiet_libraries(), TemporaryDirectory() as folder:
        if not re.fullmatch(r"[\w./-]+", folder, re.ASCII):
            raise ReportedError(
                f"the temporary folder is {folder}, but MindSpore exports only to a path of plain letters; "
                "set TMPDIR to another one"
            )
        try:
            yield Path(folder)
        except OSError as error:
            raise ReportedError(
                f"cannot write the model in {folder}: {error.strerror or error}; free the disk or set TMPDIR"
            ) from error


@contextlib.contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Keep the libraries' remarks on their own conversions out of our output."""
    logger = logging.getLogger("root")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
