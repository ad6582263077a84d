"""INT8: the static quantization of ONNX Runtime, with ranges measured on training images."""

import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx.version_converter import convert_version
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

from src.deploy.export import export_model, set_metadata, workshop
from src.deploy.manifest import INPUT_NAME, Manifest, write_manifest
from src.deploy.onnx_session import OnnxModel
from src.training.evaluation import PredictStep
from src.utils.accuracy import Accuracy
from src.utils.files import write_atomically

_OPSET = 13  # the first whose DequantizeLinear has a scale for each channel; MindSpore writes 11


def export_quantized(
    step: PredictStep,
    manifest: Manifest,
    path: Path,
    calibration: Iterable[tuple[np.ndarray, ...]],
    held_out: Iterable[tuple[np.ndarray, ...]],
    *,
    threads: int,
) -> Manifest:
    """Write `step`'s network in INT8 to `path`, its description beside it; return that with what was measured.

    Convolutions and the classifier are quantized, weights per channel, activations per tensor; all else, input and
    output among it, stays float32. calibration, held_out: batches (images, labels, ...) from the evaluation's pipeline.
    On held_out both models answer and are timed, batch by batch in turn. Raises ReportedError.
    """
    measured = {}
    with workshop() as folder:
        exact = folder / "exact.onnx"
        export_model(step, replace(manifest, precision="float32"), exact, threads=threads)
        prepared = folder / "prepared.onnx"
        onnx.save(convert_version(onnx.load(exact), _OPSET), prepared)

        def write(temporary: Path) -> None:
            _quantize(prepared, temporary, calibration)
            model = onnx.load(temporary)
            set_metadata(model, manifest)
            onnx.save(model, temporary)
            models = {"float32": OnnxModel(exact, "CPU", threads), "int8": OnnxModel(temporary, "CPU", threads)}
            measured.update(_measure(models, held_out, manifest.architecture.num_classes))

        write_atomically(path, write)
    manifest = replace(manifest, verified=measured)
    write_manifest(manifest, path)
    return manifest


class _Reader(quantization.CalibrationDataReader):
    def __init__(self, batches: Iterable[tuple[np.ndarray, ...]]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> dict[str, np.ndarray] | None:
        images = next(self._batches, (None,))[0]
        return None if images is None else {INPUT_NAME: images}


def _quantize(prepared: Path, target: Path, calibration: Iterable[tuple[np.ndarray, ...]]) -> None:
    quant_pre_process(str(prepared), str(prepared), skip_symbolic_shape=True)
    quantization.quantize_static(
        str(prepared),
        str(target),
        _Reader(calibration),
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=["Conv", "Gemm"],  # what Concat joins goes on to a normalisation, which has no INT8 form
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        reduce_range=True,  # to 7 bits: without VNNI a pair of 8-bit products would saturate 16 bits
    )


def _measure(models: dict[str, OnnxModel], held_out: Iterable[tuple[np.ndarray, ...]], num_classes: int) -> dict:
    seconds = dict.fromkeys(models, 0.0)
    counts = {name: Accuracy(num_classes) for name in models}
    for images, labels, *_ in held_out:
        for name, model in models.items():
            start = time.perf_counter()
            logits = model(images)
            seconds[name] += time.perf_counter() - start
            counts[name].update(logits, labels)
    return {
        "images": counts["int8"].seen,
        **{f"{name}_top1": accuracy.top1 for name, accuracy in counts.items()},
        "top1_loss": counts["float32"].top1 - counts["int8"].top1,
        "speed_up": round(seconds["float32"] / seconds["int8"], 2),
    }
