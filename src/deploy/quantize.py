"""INT8, with ranges measured on training images: the static quantization of ONNX Runtime, or the CPU engine's own."""

import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx.version_converter import convert_version
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

from src.deploy.engine_model import EngineModel
from src.deploy.export import SUFFIXES, export_model, workshop, write_engine, write_onnx
from src.deploy.manifest import INPUT_NAME, Manifest
from src.deploy.onnx_file import save_onnx
from src.deploy.onnx_inputs import measured_inputs
from src.deploy.onnx_session import OnnxModel
from src.deploy.publish import publish
from src.training.evaluation import Logits, PredictStep, counter_of

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

    ONNX: convolutions and the classifier are quantized, weights per channel, activations per tensor. ENGINE: see
    `engine_int8.py`. All else, input and output among it, stays float32. calibration, held_out: batches (images,
    labels, ...) from the evaluation's pipeline. On held_out both models answer and are timed, batch by batch in turn.
    Raises ReportedError.
    """
    with workshop() as folder:
        suffix = SUFFIXES[manifest.file_format]
        exact, made = folder / f"exact{suffix}", folder / f"model{suffix}"
        export_model(step, replace(manifest, precision="float32"), exact, threads=threads)
        models: dict[str, Logits]
        if manifest.file_format == "ENGINE":
            write_int8_engine(step, manifest, made, calibration, threads)
            models = {"float32": EngineModel(exact), "int8": EngineModel(made)}
        else:
            write_int8(exact, manifest, made, calibration)
            models = {"float32": OnnxModel(exact, "CPU", threads), "int8": OnnxModel(made, "CPU", threads)}
        measured = _measure(models, held_out, manifest)
        manifest = replace(manifest, verified=measured)
        publish(made, manifest, path)
    return manifest


class _Reader(quantization.CalibrationDataReader):
    def __init__(self, batches: Iterable[tuple[np.ndarray, ...]]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> dict[str, np.ndarray] | None:
        images = next(self._batches, (None,))[0]
        return None if images is None else {INPUT_NAME: images}


def write_int8(exact: Path, manifest: Manifest, target: Path, calibration: Iterable[tuple[np.ndarray, ...]]) -> None:
    """Write the float32 ONNX model `exact` in INT8 to `target`, and one more file beside it."""
    prepared = target.with_name("prepared.onnx")
    onnx.save(convert_version(onnx.load(exact), _OPSET), prepared)
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
    model = onnx.load(target)
    own = [imported for imported in model.opset_import if imported.domain == ""]
    del model.opset_import[:]  # ONNX Runtime adds all domains that it knows
    model.opset_import.extend(own)
    save_onnx(model, manifest, target)


def write_int8_engine(
    step: PredictStep,
    manifest: Manifest,
    target: Path,
    calibration: Iterable[tuple[np.ndarray, ...]],
    threads: int,
) -> None:
    """Write `step`'s network in INT8 for the CPU engine to `target`, and another file beside it."""
    graph = target.with_name("measured.onnx")
    write_onnx(step, replace(manifest, file_format="ONNX", precision="float32"), graph)
    write_engine(step, manifest, target, measured_inputs(graph, calibration, threads))


def _measure(models: dict[str, Logits], held_out: Iterable[tuple[np.ndarray, ...]], manifest: Manifest) -> dict:
    seconds = dict.fromkeys(models, 0.0)
    counts = {name: counter_of(manifest.task, manifest.architecture.num_classes) for name in models}
    agreeing = 0.0
    for images, labels, *_ in held_out:
        answers = []
        for name, model in models.items():
            start = time.perf_counter()
            logits = model(images)
            seconds[name] += time.perf_counter() - start
            counts[name].update(logits, labels)
            answers.append(logits > 0 if manifest.task == "multilabel" else logits.argmax(1))
        agreeing += float(np.equal(*answers).mean()) * len(images)
    figure = "auroc" if manifest.task == "multilabel" else "top1"
    found = {name: counter.metrics()[figure] for name, counter in counts.items()}
    return {
        "images": counts["int8"].seen,
        **{f"{name}_{figure}": value for name, value in found.items()},
        f"{figure}_loss": found["float32"] - found["int8"],
        "agreement": agreeing / counts["int8"].seen,
        "speed_up": round(seconds["float32"] / seconds["int8"], 2),
    }
