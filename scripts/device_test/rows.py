"""The rows: what each promises, and how it is tried. A row returns its figure, or raises ReportedError: it failed."""

import math
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mindspore as ms
import numpy as np
import onnxruntime
from PIL import Image

import eval as evaluate
import eval_onnx
import export
import train
from scripts.device_test.context import (
    HELD_OUT,
    NETWORK,
    ROOT,
    TINY,
    Context,
    NotApplicableError,
    newest,
    only,
    require,
    same_bits,
    wait_for,
    weights,
)
from src.datasets.classification import evaluation_batches
from src.datasets.sources import open_source
from src.deploy import convert_weights
from src.deploy.onnx_session import provider_of
from src.network.build import build_network
from src.ops.build import kernels
from src.training.evaluation import PredictStep
from src.training.model_card import model_card_of
from src.utils.checkpoint import load_checkpoint, load_weights

LEAST_ACCURACY, EPOCHS = 0.85, 4  # of the tiny network; it reaches 0.92 to 0.94 with the flags below
LEARNS_SOON = ("--per_batch_size", 32, "--lr", 0.2, "--lr_scheduler", "cosine_annealing", "--max_epoch", EPOCHS)
TOLERANCE = {"O0": 1e-4, "O2": 2e-2, "O3": 5e-2}  # of the largest logit
# Their convolutions round float32 to HF32 or TF32, of float16's bits, unless told otherwise.
ROUNDED_FP32 = {"Ascend": 5e-3, "GPU": 5e-3}


@dataclass(frozen=True)
class Row:
    """name: a word for --only and reports. promise: of the README's table. seconds: after which it is given up."""

    name: str
    promise: str
    try_it: Callable[[Context], str]
    seconds: float = 300


def _train_to_accuracy(context: Context, name: str, *flags: object) -> str:
    run = context.train(name, *LEARNS_SOON, "--eval_data_dir", "bundled", "--eval_interval", EPOCHS, *flags)
    rows = [line.split(",") for line in (run / "metrics.csv").read_text("utf-8").splitlines()]
    last = dict(zip(rows[0], rows[-1], strict=True))
    top1 = float(last["top1"])
    require(top1 >= LEAST_ACCURACY, f"top-1 is {top1:.4f} after {EPOCHS} epochs, expected {LEAST_ACCURACY} or more")
    require(math.isfinite(float(last["loss"])), f"the loss is {last['loss']}")
    return f"top-1 {100 * top1:.2f} %, {float(last['images_per_second']):.0f} images/s"


def _train_float32(context: Context) -> str:
    return _train_to_accuracy(context, "O0", "--amp_level", "O0")


def _train_o2(context: Context) -> str:
    return _train_to_accuracy(context, "O2", "--amp_level", "O2", "--loss_scale_type", "fixed", "--loss_scale", 1024)


def _train_o3(context: Context) -> str:
    return _train_to_accuracy(context, "O3", "--amp_level", "O3", "--loss_scale_type", "dynamic")


def _train_bf16(context: Context) -> str:
    if context.target != "CPU" or not kernels().has_bf16:
        raise NotApplicableError("for CPUs with AMX or AVX512_BF16")
    return _train_to_accuracy(context, "bf16", "--cpu_precision", "bf16")


def _resume(context: Context) -> str:
    """A run that is killed, and resumed in a new process, as users have, ends with the bits of one in this process."""
    flags = ["--max_epoch", 2, "--ckpt_interval", 5]
    train_py, root = [sys.executable, ROOT / "train.py"], context.folder / "killed"
    whole = context.train("whole", *flags)
    where = ["--device_target", context.target, "--save_ckpt_path", root]
    command = [*map(str, (*train_py, *TINY, *flags, *where))]
    with (context.folder / "killed.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)  # noqa: S603
        try:
            there = wait_for(lambda: any(root.glob("*/0-1_*.ckpt")), 600, lambda: process.poll() is None)
        finally:
            process.kill()
            process.wait()
    require(there, "the run to be killed wrote no checkpoint")
    killed, last = newest(only(root)), newest(whole)
    require(killed.name != last.name, "the run was over before it could be killed")
    context.run([*train_py, "--resume", only(root), "--device_target", context.target], 600)
    resumed = newest(only(root))
    require(resumed.name == last.name, f"the resumed run ended with {resumed.name}, the other with {last.name}")
    differing = same_bits(last, resumed)
    where = f"killed at {killed.stem} and resumed"
    require(not differing, f"{where}, {len(differing)} arrays differ, first {differing[:1]}")
    return f"{where}: the same bits"


def _exact_evaluation(context: Context) -> str:
    counts = {}
    for batch_size in (7, 128):
        results = evaluate.main([
            *("--ckpt_files", str(context.checkpoint), "--per_batch_size", str(batch_size)),
            *("--device_target", context.target, "--save_ckpt_path", str(context.folder / f"eval{batch_size}")),
        ])  # fmt: skip
        (found,) = results.values()
        counts[batch_size] = (found.seen, found.top1_correct)
    require(len(set(counts.values())) == 1, f"batches of 7 and 128 count {counts[7]} and {counts[128]}")
    total, correct = counts[7]
    require(total == HELD_OUT, f"{total} pictures were counted, there are {HELD_OUT}")
    expected = context.record["top1_correct"]
    require(abs(correct - expected) <= 1, f"{correct} of {total} are right, recorded were {expected}")
    return f"{correct} of {total}"


def _logits(context: Context) -> str:
    """The bundled network's logits against float64, in each precision."""
    checkpoint = load_checkpoint(context.checkpoint)
    card = model_card_of(checkpoint)
    source = open_source("digits", "", split="eval")
    expected = np.array(context.record["logits"])
    images, *_ = next(iter(evaluation_batches(source, card.preprocessing, batch_size=len(expected), workers=1)))
    figures = []
    for level, tolerance in TOLERANCE.items():
        network = build_network(
            card.architecture, device=context.target, cpu_kernels="auto", cpu_precision="fp32", amp_level=level
        )
        load_weights(network, checkpoint)
        found = PredictStep(network).logits(images)
        error = float(abs(found - expected).max() / abs(expected).max())
        allowed = ROUNDED_FP32.get(context.target, tolerance) if level == "O0" else tolerance
        require(error <= allowed, f"{level} differs by {error:.1e} of the largest logit, allowed are {allowed:.0e}")
        figures.append(f"{level} {error:.0e}")
    return ", ".join(figures)


def _export(context: Context, file_format: str, *flags: str) -> Path:
    path = context.folder / file_format.lower() / "model"
    path.parent.mkdir()
    return export.main([
        *("--ckpt_file", str(context.checkpoint), "--file_format", file_format, "--file_name", str(path)),
        *("--device_target", context.target, *flags),
    ])  # fmt: skip


def _onnx(context: Context) -> str:
    """The exported model counts what the checkpoint does, in ONNX Runtime on the CPU and on the device."""
    model = _export(context, "ONNX")
    providers = ["CPU"] + (["GPU"] if context.target == "GPU" else [])
    for device in providers:
        accuracy = eval_onnx.main([
            *("--ckpt_files", str(model), "--eval_data_dir", "bundled", "--dataset", "digits"),
            *("--device_target", device),
            *("--save_ckpt_path", str(context.folder / f"onnx{device}")),
        ])  # fmt: skip
        expected = context.record["top1_correct"]
        require(accuracy.seen == HELD_OUT, f"{device}: {accuracy.seen} pictures were counted, there are {HELD_OUT}")
        right = accuracy.top1_correct
        require(abs(right - expected) <= 1, f"{device}: {right} are right, recorded were {expected}")
    return ", ".join(provider_of(device) for device in providers) + f", ONNX Runtime {onnxruntime.__version__}"


def _mindir(context: Context) -> str:
    model = _export(context, "MINDIR", "--batch_size", "0")
    return f"loaded back and compared, {model.stat().st_size / 1e3:.0f} kB"


def _air(context: Context) -> str:
    if context.target != "Ascend":
        raise NotApplicableError("AIR is written on an Ascend only")
    model = _export(context, "AIR", "--batch_size", "1")
    return f"{model.stat().st_size / 1e3:.0f} kB"


def _weights(context: Context) -> str:
    """To PyTorch's names and back."""
    there, back = context.folder / "w.safetensors", context.folder / "w.ckpt"
    convert_weights.main([str(context.checkpoint), str(there)])
    convert_weights.main([str(there), str(back), *NETWORK[:2]])
    own, found = load_checkpoint(context.checkpoint).weights(), weights(back)
    differing = [name for name in own if name not in found or found[name].tobytes() != own[name].tobytes()]
    require(not differing, f"{len(differing)} arrays differ after the conversion there and back, first {differing[:1]}")
    return f"{len(own)} arrays there and back"


def _several(context: Context) -> str:
    """The launcher, all ranks with equal weights, and an evaluation that counts each picture once."""
    if context.devices < 2:
        raise NotApplicableError("one device was given")
    name = {"CPU": "_cpu", "GPU": "_gpu", "Ascend": ""}[context.target]
    number = str(context.devices)
    which = {"CPU": [], "GPU": [",".join(map(str, range(context.devices)))], "Ascend": ["none"]}[context.target]
    root = context.folder / "ranks"
    said = context.run([
        *("bash", ROOT / f"scripts/run_distribute_train{name}.sh", number, *which, "densenet100", "digits", "bundled"),
        *NETWORK[2:], *("--image_size", "8", "--per_batch_size", "64", "--max_epoch", "2"),
        *("--eval_data_dir", "bundled"),
        *("--is_save_on_master", "0", "--eval_interval", "2", "--save_ckpt_path", root),
    ], 600)  # fmt: skip
    totals = set(re.findall(r"top1_correct=\d+, tot=(\d+)", said))
    require(totals == {str(HELD_OUT)}, f"the ranks counted {', '.join(totals) or 'nothing'}, there are {HELD_OUT}")
    return equal_weights(context, root)


def equal_weights(context: Context, root: Path) -> str:
    """Compare what the ranks of the one run in `root` have written last."""
    run = only(root)
    newest_of = [sorted(run.glob(f"{rank}-*.ckpt"), key=lambda p: p.stat().st_mtime) for rank in range(context.devices)]
    require(all(newest_of), "not every rank has written a checkpoint")
    first, *others = (load_checkpoint(found[-1]).weights() for found in newest_of)
    trained = [name for name in first if not re.search(r"moving_(mean|variance)$", name)]
    for rank, other in enumerate(others, start=1):
        differing = [name for name in trained if other[name].tobytes() != first[name].tobytes()]
        require(not differing, f"rank {rank} has other weights than rank 0, first {differing[:1]}")
    return f"{context.devices} ranks, {len(trained)} equal arrays"


def _cpp_program(context: Context) -> str:
    """MindSpore Lite answers what the network does, on pictures of the held-out digits."""
    if context.target == "GPU":
        raise NotApplicableError("the C++ program is for Ascend and CPUs")
    if context.target == "Ascend" and not os.environ.get("LITE_HOME"):
        raise NotApplicableError("LITE_HOME is not set")
    source, folder, digits = open_source("digits", "", split="eval"), context.folder / "pictures", 60
    folder.mkdir()
    for index in range(digits):
        Image.fromarray(source.read(index)).save(folder / f"{index}.png")
    model = context.folder / "lite"
    export.main([
        *("--ckpt_file", str(context.checkpoint), "--file_format", "MINDIR", "--batch_size", "8"),
        *("--mindir_version", "1", "--file_name", str(model), "--device_target", context.target),
    ])  # fmt: skip
    said = context.run(
        ["bash", ROOT / "scripts/run_infer_310.sh", model.with_name("lite.mindir"), "pictures", folder, "-", "0"], 600,
        {"DEVICE_TARGET": context.target},
    )  # fmt: skip
    answers = re.findall(r"^(\d+)\.png: (\d) ", said, re.MULTILINE)
    require(len(answers) == digits, f"{len(answers)} of {digits} pictures were answered")
    right = sum(int(answer) == source.labels[int(index)] for index, answer in answers)
    expected = context.record["top1_correct_of_60"]
    require(abs(right - expected) <= 1, f"{right} of {digits} are right, recorded were {expected}")
    return f"{right} of {digits}"


def _speed(context: Context) -> str:
    """DenseNet-121, which is what people train; few and small pictures, so that a CPU is done in seconds."""
    root = context.folder / "speed"
    size, batch_size, data = 224, 32, ["--dataset", "digits"]
    if context.target == "CPU":
        size, batch_size = 32, 128
        data = ["--dataset", "cifar10", "--train_data_dir", str(_few_digits(context.folder / "few", 4 * batch_size))]
    train.main([
        *("--net", "densenet121", *data, "--image_size", str(size)),
        *("--per_batch_size", str(batch_size), "--max_epoch", "1", "--augmentation", "none"),
        *("--device_target", context.target),
        *("--save_ckpt_path", str(root), "--ckpt_interval", "0"),
    ])  # fmt: skip
    rows = [line.split(",") for line in (only(root) / "metrics.csv").read_text("utf-8").splitlines()]
    last = dict(zip(rows[0], rows[-1], strict=True))
    require(math.isfinite(float(last["loss"])), f"the loss is {last['loss']}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    device = ""
    if context.target != "CPU":
        device = f", {ms.runtime.max_memory_allocated() / 2**20:.0f} MB of the device"
    return f"{float(last['images_per_second']):.1f} images/s at {size}x{size}, {peak:.0f} MB of the host{device}"


def _few_digits(folder: Path, count: int) -> Path:
    """That many training pictures as CIFAR-10's binary records."""
    folder.mkdir()
    source = open_source("digits", "", split="train")
    records = [np.append(np.uint8(source.labels[i]), source.read(i).transpose(2, 0, 1)) for i in range(count)]
    (folder / "data_batch_1.bin").write_bytes(np.concatenate(records).astype(np.uint8).tobytes())
    return folder


ONE = "Train, resume, fine-tune, evaluate on one device"
MIXED = "Mixed precision (`amp_level` O2, O3)"
ROWS = (
    Row("logits", f"{ONE}: logits against float64, each precision", _logits),
    Row("evaluation", f"{ONE}: exact evaluation", _exact_evaluation),
    Row("train", f"{ONE}: float32 to an accuracy", _train_float32),
    Row("resume", f"{ONE}: killed and resumed, the same bits", _resume),
    Row("O2", f"{MIXED}: O2, fixed loss scale", _train_o2),
    Row("O3", f"{MIXED}: O3, dynamic loss scale", _train_o3),
    Row("bf16", "bf16 kernels", _train_bf16),
    Row("onnx", "Export to ONNX, ONNX Runtime: the same counts", _onnx),
    Row("mindir", "Export to MINDIR, checked against the network", _mindir),
    Row("air", "Export to AIR", _air),
    Row("weights", "Weights of torchvision's names, there and back", _weights),
    Row("ranks", "Several devices: launcher, equal weights, exact counts", _several),
    Row("cpp", "C++ program (MindSpore Lite), its script", _cpp_program),
    Row("speed", "DenseNet-121: speed and peak memory", _speed),
)  # fmt: skip
