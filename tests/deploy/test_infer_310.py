"""The whole chain on a CPU: train, export, the C++ program, acc.log; the same answers as eval.py's."""

import csv
import os
import re
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from commands import NETWORK, ROOT, only, write_cifar
from cpp import photographs
from infer_310 import CLASSES, TRAINING, make_model, run_script, start_script
from PIL import Image

import eval as evaluation
import eval_onnx
import export
import train
from src.datasets.classification import evaluation_batches
from src.datasets.sources import open_source
from src.deploy import convert_weights, write_labels
from src.deploy.labels import result_name
from src.network.densenet import DenseNet
from src.training.evaluation import PredictStep
from src.training.model_card import model_card_of
from src.utils.checkpoint import load_checkpoint, load_weights, save_checkpoint


def wait_until(condition, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def messages(text: str) -> list[str]:
    """The lines of a log without their time stamps, which have to be the seed's."""
    lines = text.splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}:INFO:", line) for line in lines)
    return [line.split(":INFO:")[1] for line in lines]


def network_logits(checkpoint: Path, dataset: str, data: Path) -> dict[str, np.ndarray]:
    """The logits of eval.py's network by the name of the result."""
    loaded = load_checkpoint(checkpoint)
    card = model_card_of(loaded)
    step = PredictStep(DenseNet(card.architecture))
    load_weights(step.network, loaded)
    source = open_source(dataset, data, split="eval")
    ((images, _, _),) = evaluation_batches(source, card.preprocessing, batch_size=len(source), workers=1)
    named = [
        f"test_batch_{i:05d}" if dataset == "cifar10" else result_name(Path(source.image_name(i)).name)
        for i in range(len(source))
    ]
    return dict(zip(named, step.logits(images), strict=True))


def check_against_eval(folder: Path, checkpoint: Path, dataset: str, data: Path, capsys) -> None:
    """acc.log has eval.py's lines; every file of logits is the network's, and puts the same class first."""
    evaluated = evaluation.main(
        ["--ckpt_files", str(checkpoint), "--eval_data_dir", str(data), "--save_ckpt_path", str(folder / "eval")]
    )
    capsys.readouterr()
    (accuracy,) = evaluated.values()
    assert messages((folder / "acc.log").read_text()) == accuracy.lines()
    assert accuracy.top1 > 0.6  # an untrained network would prove nothing

    expected = network_logits(checkpoint, dataset, data)
    found = {
        file.name.removesuffix("_0.bin"): np.fromfile(file, np.float32) for file in (folder / "result_Files").iterdir()
    }
    assert found.keys() == expected.keys()
    largest = max(np.abs(logits).max() for logits in expected.values())
    for name, logits in expected.items():
        assert np.abs(found[name] - logits).max() / largest < 1e-4
        assert found[name].argmax() == logits.argmax()
    with (folder / "time_Result/predictions.csv").open() as file:
        answers = {result_name(Path(row["image"]).name): int(row["class"]) for row in csv.DictReader(file)}
    assert answers == {name: logits.argmax() for name, logits in expected.items()}


@pytest.mark.slow
def test_pictures_from_training_to_acc_log(pictures, infer_program, tmp_path, capsys):  # noqa: ARG001 - fetched before
    folder = tmp_path / "my results"
    folder.mkdir()
    arguments = [pictures / "my model.mindir", "folder", pictures / "held out", pictures / "my labels.txt", 0]
    done = run_script(folder, *arguments, DEVICE_TARGET="CPU")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert {path.name for path in folder.iterdir()} == {"acc.log", "result_Files", "time_Result"}
    timing = (folder / "time_Result/test_perform_static.txt").read_text()
    assert re.fullmatch(r"NN inference cost average time: \d+\.\d+ ms of infer_count 9\n", timing)  # 60 in sevens
    check_against_eval(folder, pictures / "best.ckpt", "folder", pictures / "held out", capsys)
    assert done.stdout.endswith((folder / "acc.log").read_text())


@pytest.mark.slow
def test_a_file_of_the_cpu_engine_needs_neither_lite_nor_mindspore(pictures, infer_program, tmp_path, capsys):
    assert infer_program.is_file()  # nobody else builds in the folder now
    target = ["--file_format", "ENGINE", "--file_name", str(tmp_path / "my model")]
    model = export.main(["--ckpt_file", str(pictures / "best.ckpt"), *target])
    (tmp_path / "none").mkdir()
    (tmp_path / "none/mindspore.py").write_text("raise ImportError('this process was to do without MindSpore')")
    folder = tmp_path / "my results"
    folder.mkdir()
    arguments = [model, "folder", pictures / "held out", pictures / "my labels.txt", 0]
    done = run_script(folder, *arguments, DEVICE_TARGET="CPU", PYTHONPATH=str(tmp_path / "none"))
    assert (done.returncode, done.stderr) == (0, "")
    check_against_eval(folder, pictures / "best.ckpt", "folder", pictures / "held out", capsys)
    assert done.stdout.endswith((folder / "acc.log").read_text())


@pytest.mark.slow
def test_earlier_results_are_moved_and_the_program_is_not_built_again(pictures, tmp_path):
    program = ROOT / "ascend310_infer/out/main"
    arguments = [pictures / "my model.mindir", "folder", pictures / "held out", pictures / "my labels.txt", 0]
    assert run_script(tmp_path, *arguments, DEVICE_TARGET="CPU").returncode == 0
    built = program.stat().st_mtime_ns
    (tmp_path / "acc.log").write_text("the first")
    (tmp_path / "infer0").write_text("another file")
    done = run_script(tmp_path, *arguments, DEVICE_TARGET="CPU")
    assert done.returncode == 0, done.stderr
    assert f"earlier results are now in {tmp_path}/infer1\n" in done.stdout
    assert (tmp_path / "infer1/acc.log").read_text() == "the first"
    assert len(list((tmp_path / "infer1/result_Files").iterdir())) == 60
    assert len(list((tmp_path / "result_Files").iterdir())) == 60
    assert (tmp_path / "infer0").read_text() == "another file"
    assert program.stat().st_mtime_ns == built


@pytest.mark.slow
def test_names_that_class_folders_share_and_imagenet_for_folder(pictures, tmp_path, capsys):
    """Camera folders hold the same names; imagenet and folder both mean class folders."""
    data = tmp_path / "camera"
    for name in CLASSES:
        (data / name).mkdir(parents=True)
        for i, picture in enumerate(sorted((pictures / "held out" / name).iterdir())):
            shutil.copy(picture, data / name / f"IMG_{i:04}.jpg")
    write_labels.main([str(data), str(tmp_path / "labels.txt"), "--model", str(pictures / "my model.mindir")])
    arguments = [pictures / "my model.mindir", "imagenet", data, tmp_path / "labels.txt", 0]
    done = run_script(tmp_path, *arguments, DEVICE_TARGET="CPU")
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in (tmp_path / "result_Files").iterdir()} == set(CLASSES)
    assert len(list((tmp_path / "result_Files").glob("*/IMG_*_0.bin"))) == 60
    evaluated = evaluation.main(
        [
            "--ckpt_files",
            str(pictures / "best.ckpt"),
            "--eval_data_dir",
            str(data),
            "--save_ckpt_path",
            str(tmp_path / "e"),
        ]
    )
    capsys.readouterr()
    (accuracy,) = evaluated.values()
    assert messages((tmp_path / "acc.log").read_text()) == accuracy.lines()
    assert accuracy.top1 > 0.6


@pytest.mark.slow
def test_a_yes_or_no_to_each_class(pictures, tmp_path, capsys):
    """A CSV file's labels, grey pictures of 16 bits and a network of one channel: acc.log has eval.py's scores, the
    files have its logits, and all classes that are probable are predicted.
    """
    convert_weights.main([str(pictures / "best.ckpt"), str(tmp_path / "grey.ckpt"), "--input_channels", "1"])
    loaded = load_checkpoint(tmp_path / "grey.ckpt")
    parameters = [ms.Parameter(ms.Tensor(value), name=name) for name, value in loaded.weights().items()]
    metadata = {**loaded.metadata, "task": "multilabel", "dataset": "csv"}
    save_checkpoint(tmp_path / "several.ckpt", parameters, metadata)
    data = tmp_path / "data"
    rows = ["image," + ",".join(CLASSES)]
    for i, picture in enumerate(sorted((pictures / "held out").glob("*/*.jpg"))):
        with Image.open(picture) as shallow:
            deep = np.asarray(shallow.convert("L")).astype(np.uint16) * 251 + 77
        name = f"patient{i // 2:02}/view {i % 2}.png"
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(deep).save(data / name)
        rows.append(f"{name}," + ",".join(str(int(picture.parent.name == name)) for name in CLASSES))
    (data / "labels.csv").write_text("\n".join(rows) + "\n")
    model = make_model(tmp_path / "several.ckpt", tmp_path / "several", "--batch_size", "7", "--mindir_version", "1")
    done = run_script(tmp_path, model, "csv", data, data / "labels.csv", 0, DEVICE_TARGET="CPU")
    assert (done.returncode, done.stderr) == (0, "")
    asked = [
        "--ckpt_files",
        str(tmp_path / "several.ckpt"),
        "--dataset",
        "csv",
        "--save_ckpt_path",
        str(tmp_path / "e"),
    ]
    (scores,) = evaluation.main([*asked, "--eval_data_dir", str(data / "labels.csv")]).values()
    target = ["--file_format", "ONNX", "--file_name", str(tmp_path / "several")]
    onnx = export.main(["--ckpt_file", str(tmp_path / "several.ckpt"), *target])
    asked[:2] = ["--ckpt_files", str(onnx)]
    with_onnx = eval_onnx.main([*asked, "--eval_data_dir", str(data / "labels.csv")])
    np.testing.assert_allclose(with_onnx.logits, scores.logits, atol=1e-4 * np.abs(scores.logits).max())
    capsys.readouterr()
    assert messages((tmp_path / "acc.log").read_text()) == scores.lines()
    assert scores.auroc > 0.6
    names = [row.split(",")[0].replace("/", "_") for row in rows[1:]]
    found = [np.fromfile(tmp_path / "result_Files" / f"{result_name(name)}_0.bin", np.float32) for name in names]
    np.testing.assert_allclose(found, scores.logits, atol=1e-4 * np.abs(scores.logits).max())
    with (tmp_path / "time_Result/predictions.csv").open() as file:
        answers = {row["image"]: row["classes"] for row in csv.DictReader(file)}
    expected = ["|".join(map(str, np.flatnonzero(row >= 0))) for row in scores.logits]
    assert answers == dict(zip(names, expected, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("asked", ["", "bee 0.jpg"], ids=["a folder", "one picture"])
def test_pictures_that_nobody_has_labelled_are_answered(asked, pictures, tmp_path):
    data = pictures / "held out/bee" / asked
    done = run_script(tmp_path, pictures / "my model.mindir", "pictures", data, "-", 0, DEVICE_TARGET="CPU")
    assert (done.returncode, done.stderr) == (0, "")
    *answers, last = [line for line in done.stdout.splitlines() if not line.startswith("building")]
    logits = network_logits(pictures / "best.ckpt", "folder", pictures / "held out")
    names = sorted(path.name for path in (pictures / "held out/bee").iterdir()) if not asked else [asked]
    assert len(answers) == len(names)
    class_names = (*CLASSES, *(f"unused_{i}" for i in range(len(CLASSES), 12)))
    for name, answer in zip(names, answers, strict=True):
        shown, listed = answer.split(": ")
        assert shown == name
        found = [re.fullmatch(r"(.*) (\d+\.\d\d) %", one).groups() for one in listed.split(", ")]
        own = np.exp(logits[result_name(name)] - logits[result_name(name)].max())
        best = np.argsort(-own, kind="stable")[:5]
        assert [of for of, _ in found] == [class_names[i] for i in best]
        np.testing.assert_allclose([float(p) for _, p in found], 100 * own[best] / own.sum(), atol=0.02)
    assert last.startswith(f"{len(names)} images, ")
    assert not (tmp_path / "acc.log").exists()


@pytest.mark.slow
def test_cifar10_with_the_labels_of_its_records(tmp_path, capsys):
    data = tmp_path / "cifar-10-batches-bin"
    write_cifar(data / "data_batch_1.bin", 400)
    write_cifar(data / "test_batch.bin", 60)
    paths = ["--train_data_dir", str(data), "--eval_data_dir", str(data)]
    flags = [*TRAINING, "--image_size", "8", *paths, "--save_ckpt_path", str(tmp_path / "run")]
    train.main([*NETWORK, "--dataset", "cifar10", *flags])
    checkpoint = only(tmp_path / "run") / "best.ckpt"
    model = make_model(checkpoint, tmp_path / "any_batch", "--batch_size", "0", "--mindir_version", "1")
    done = run_script(tmp_path, model.name, "cifar10", data.name, "-", 0, DEVICE_TARGET="CPU")
    assert done.returncode == 0, done.stderr
    check_against_eval(tmp_path, checkpoint, "cifar10", data, capsys)


@pytest.mark.slow
def test_a_damaged_picture_ends_the_run_with_the_programs_status(pictures, tmp_path):
    data = tmp_path / "held out"
    shutil.copytree(pictures / "held out", data)
    (data / "bee/bee 0.jpg").write_bytes((data / "bee/bee 0.jpg").read_bytes()[:200])
    arguments = [pictures / "my model.mindir", "folder", data, pictures / "my labels.txt", 0]
    done = run_script(tmp_path, *arguments, DEVICE_TARGET="CPU")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {data}/bee/bee 0.jpg should be a complete JPEG or PNG picture")
    assert not (tmp_path / "acc.log").exists()


@pytest.mark.slow
def test_a_stopped_script_stops_the_program(pictures, tmp_path):
    data, results = tmp_path / "data/ant", tmp_path / "result_Files"
    data.mkdir(parents=True)
    photographs()[0].resize((6000, 4000)).save(data / "0.jpg")  # takes long to decode
    for i in range(1, 200):
        (data / f"{i}.jpg").hardlink_to(data / "0.jpg")
    write_labels.main([str(data.parent), str(tmp_path / "labels.txt")])
    arguments = [pictures / "my model.mindir", "folder", data.parent, tmp_path / "labels.txt", 0]
    script = start_script(tmp_path, *arguments, DEVICE_TARGET="CPU")
    wait_until(lambda: script.poll() is not None or (results.is_dir() and any(results.iterdir())), 300)
    script.terminate()
    script.communicate(timeout=10)
    assert script.returncode == -signal.SIGTERM
    # The program holds the lock of the folder too.
    wait_until(lambda: subprocess.run(["flock", "--nonblock", tmp_path, "true"]).returncode == 0, 5)
    assert len(list(results.iterdir())) < 200


@pytest.mark.slow
@pytest.mark.parametrize(
    "limit, most, message",
    [
        (resource.RLIMIT_FSIZE, 0, r"error: cannot write .*/out/ant 0_0\.bin: File too large; free the disk or choose"),
        (resource.RLIMIT_AS, 2**31, r"error: only \d+ of 256 threads could be started: Resource temporarily"),
    ],
    ids=["file size", "memory"],
)
def test_what_the_system_refuses_the_program_is_one_line(limit, most, message, pictures, infer_program, tmp_path):
    paths = [f"--model_path={pictures / 'my model.mindir'}", f"--dataset_path={pictures / 'held out'}"]
    paths += [f"--output_dir={tmp_path / 'out'}", f"--time_dir={tmp_path / 'time'}"]
    size = ["--image_size=16", "--resize=16", "--mean=0.5,0.5,0.5", "--std=0.5,0.5,0.5"]
    done = subprocess.run(
        [infer_program, *paths, *size, "--dataset=folder", "--device_target=CPU", "--threads=256"],
        preexec_fn=lambda: resource.setrlimit(limit, (most, most)),
        env=os.environ | {"GLOG_v": "3"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert re.match(message, line)
