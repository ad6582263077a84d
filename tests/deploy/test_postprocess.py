"""From the C++ program's files to the seed's lines."""

import json
import os
import re

import numpy as np
import pytest

import postprocess
from src.datasets.preprocessing import default_preprocessing
from src.deploy.manifest import Manifest, write_manifest
from src.network.architecture import architecture
from src.utils.errors import run

CLASSES = 12
# Eight images whose true class is 3 and whose logits put it on place 1, 1, 1, 2, 5, 6, 12, 12.
PLACES = (1, 1, 1, 2, 5, 6, 12, 12)


def logits_with(place: int) -> np.ndarray:
    order = np.arange(CLASSES, 0, -1.0)  # the value of place 1, 2, ...
    values = np.roll(order, 3 - (place - 1))
    assert (values > values[3]).sum() == place - 1
    return values


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A finished inference: result_Files, time_Result/summary.json, labels.txt."""
    monkeypatch.chdir(tmp_path)
    write_results("float32")
    (tmp_path / "labels.txt").write_text("".join(f"image {i}.jpg:3\n" for i in range(len(PLACES))))
    return tmp_path


CSV = "image,finding a,finding b\nx/image 0.png,1,0\nimage 1.png,0,\nimage 2.png,0,1\nimage 3.png,1,0\n"
LOGITS = np.array([[2, 0.5], [-1, 9], [3, -1], [1, -2]], np.float32)  # of the outputs finding b, finding a


@pytest.fixture
def csv_folder(tmp_path, monkeypatch):
    """The same of a model with a yes or no to each class, which numbers them otherwise than the CSV file."""
    monkeypatch.chdir(tmp_path)
    os.makedirs("result_Files")  # noqa: PTH103
    for i, row in enumerate(LOGITS[:, ::-1]):
        row.tofile(f"result_Files/image {i}_0.bin")
    (tmp_path / "summary.json").write_text(json.dumps({"dtype": "float32", "classes": 2, "images": 4}))
    (tmp_path / "labels.csv").write_text(CSV)
    (tmp_path / "xray.mindir").write_bytes(b"model")
    manifest = Manifest(
        "MINDIR", "float32", 1, "csv", architecture("densenet100", 2), default_preprocessing("folder"),
        ("finding b", "finding a"), mindir_version=3, activation="sigmoid",
    )  # fmt: skip
    write_manifest(manifest, tmp_path / "xray.mindir")
    return tmp_path


OF_CSV = [
    "--dataset",
    "csv",
    "--result_path",
    "result_Files",
    "--label_file",
    "labels.csv",
    "--summary",
    "summary.json",
]


@pytest.mark.usefixtures("csv_folder")
def test_several_labels_a_picture(capsys):
    found = postprocess.main([*OF_CSV, "--model", "xray.mindir"])
    assert found.labels.T.tolist() == [[0, -1, 1, 0], [1, 0, 0, 1]]
    # Of a, 3 > 2 > 1 > -1 are no, yes, yes, no; of b 0.5, -1, -2 are no, yes, no.
    assert (found.figures()["auroc"].tolist(), found.f1) == ([0.5, 0.5], pytest.approx((0 + 0.8) / 2))
    assert "after allreduce eval: auroc=0.5000, ap=0.5417, f1=0.4000, tot=4" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "change", "message"),
    [
        ([], None, "--model: needed with --dataset csv"),
        (["--model", "xray.mindir"], ("finding b", "finding c"), "does not know, first 'finding c'"),
        (["--model", "xray.mindir"], ("image 3.png", "image 1.tif"), "3 different names; give each picture a name of"),
        (["--model", "xray.mindir"], ("image 3", "image 4"), "have a label but no result, first image 4"),
        (["--model", "none.mindir"], None, "there is no file none.mindir"),
    ],
)
def test_what_does_not_fit_a_csv(flags, change, message, csv_folder, capsys):
    if change:
        (csv_folder / "labels.csv").write_text(CSV.replace(*change))
    assert run(postprocess.main, [*OF_CSV, *flags]) in (1, 2)
    assert message in capsys.readouterr().err


def write_results(dtype: str) -> None:
    os.makedirs("result_Files", exist_ok=True)  # noqa: PTH103
    os.makedirs("time_Result", exist_ok=True)  # noqa: PTH103
    for i, place in enumerate(PLACES):
        logits_with(place).astype(dtype).tofile(f"result_Files/image {i}_0.bin")
    with open("time_Result/summary.json", "w") as file:  # noqa: PTH123
        json.dump({"dtype": dtype, "classes": CLASSES, "images": len(PLACES)}, file)


def command(*more: str) -> list[str]:
    return ["--dataset", "folder", "--result_path", "result_Files", "--label_file", "labels.txt", *more]


SUMMARY = command("--summary", "time_Result/summary.json")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("source", [["--summary", "time_Result/summary.json"], ["--num_classes", "12"]])
def test_the_seeds_lines(dtype, source, capsys):
    write_results(dtype)
    accuracy = postprocess.main(command(*source))
    first, second = capsys.readouterr().out.splitlines()
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}:INFO:"
    assert re.fullmatch(stamp + "after allreduce eval: top1_correct=3, tot=8, acc=37.50%", first)
    assert re.fullmatch(stamp + "after allreduce eval: top5_correct=5, tot=8, acc=62.50%", second)
    assert (accuracy.top1_correct, accuracy.top5_correct, accuracy.seen) == (3, 5, 8)
    assert accuracy.confusion[3].sum() == 8


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("through", [np.float32, np.float16])
def test_float32_of_half_as_many_classes_is_not_taken_for_float16(through, capsys):
    """Which has as many bytes; the second were float16 once, as an Ascend's are."""
    random = np.random.default_rng(0)
    for i in range(len(PLACES)):
        logits = random.normal(size=CLASSES // 2).astype(through)
        logits.astype(np.float32).tofile(f"result_Files/image {i}_0.bin")
    assert run(postprocess.main, command("--num_classes", "12")) == 1
    assert "result_Files holds no float16 values of 12 classes; as float32 they are of 6" in capsys.readouterr().err
    assert postprocess.main(command("--num_classes", "6")).seen == len(PLACES)


@pytest.mark.usefixtures("csv_folder")
def test_answers_of_another_model_are_not_counted(capsys):
    for i in range(4):
        np.arange(3, dtype=np.float32).tofile(f"result_Files/image {i}_0.bin")
    form = {"dtype": "float32", "classes": 3, "images": 4}
    with open("summary.json", "w") as file:  # noqa: PTH123
        json.dump(form, file)
    assert run(postprocess.main, [*OF_CSV, "--model", "xray.mindir"]) == 1
    assert "holds answers of 3 classes, but xray.mindir has 2; give the model" in capsys.readouterr().err


def test_results_in_a_folder_a_class(folder):
    """As the C++ program writes them where class folders share a name."""
    lines = []
    for i, place in enumerate(PLACES):
        name = f"class {i % 2}.5/IMG_{i // 2}"
        (folder / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        logits_with(place).astype(np.float32).tofile(f"out/{name}_0.bin")
        lines.append(f"{name}.jpg:3\n")
    (folder / "labels.txt").write_text("".join(lines))
    arguments = ["--dataset", "folder", "--result_path", "out", "--label_file", "labels.txt"]
    for form in (["--summary", "time_Result/summary.json"], ["--num_classes", "12"]):
        accuracy = postprocess.main([*arguments, *form])
        assert (accuracy.top1_correct, accuracy.top5_correct, accuracy.seen) == (3, 5, 8)


def test_cifar10_takes_the_labels_of_the_records(folder, capsys):
    data = np.zeros((3, 3073), np.uint8)
    data[:, 0] = (9, 0, 4)
    (folder / "cifar-10-batches-bin").mkdir()
    data.tofile(folder / "cifar-10-batches-bin" / "test_batch.bin")
    (folder / "out").mkdir()
    for i, answer in enumerate((9, 1, 4)):
        np.eye(10, dtype=np.float32)[answer].tofile(folder / f"out/test_batch_{i:05d}_0.bin")
    for labels in (".", "cifar-10-batches-bin", "cifar-10-batches-bin/test_batch.bin"):
        arguments = ["--dataset", "cifar10", "--result_path", "out", "--label_file", labels, "--num_classes", "10"]
        assert postprocess.main(arguments).top1_correct == 2
        (line,) = capsys.readouterr().out.splitlines()  # no top-5 for ten classes
        assert line.endswith(":INFO:after allreduce eval: top1_correct=2, tot=3, acc=66.67%")


def write(path: str, data: str | bytes):
    def change(folder):
        (folder / path).write_bytes(data if isinstance(data, bytes) else data.encode())

    return change


def append(line: str):
    def change(folder):
        with (folder / "labels.txt").open("a") as file:
            file.write(line)

    return change


NAN = np.full(CLASSES, np.nan, np.float32).tobytes()
BAD = {
    "no label file": (lambda f: (f / "labels.txt").unlink(), "the labels labels.txt cannot be read: No such file"),
    "empty label file": (write("labels.txt", "\n"), "labels.txt holds no labels; expected a line name:label"),
    "binary label file": (write("labels.txt", b"\xff\xfe\x00"), "labels.txt is not UTF-8 text"),
    "no colon": (append("image 8.jpg\n"), "labels.txt has 'image 8.jpg' in line 9; expected the form name:label"),
    "no name": (append(":3\n"), "labels.txt has ':3' in line 9; expected the form name:label"),
    "label is a word": (append("image 8.jpg:cat\n"), "labels.txt has 'image 8.jpg:cat' in line 9"),
    "label below zero": (append("image 8.jpg:-1\n"), "labels.txt has 'image 8.jpg:-1' in line 9"),
    "label is a fraction": (append("image 8.jpg:1.5\n"), "labels.txt has 'image 8.jpg:1.5' in line 9"),
    "huge label": (append("image 8.jpg:" + "9" * 5000), "labels.txt has 'image 8.jpg:999"),
    "the same name": (append("image 0.jpg:4\n"), "labels.txt names image 0 a second time in line 9"),
    "another suffix": (append("image 0.png:4\n"), "labels.txt names image 0 a second time in line 9"),
    "image without result": (append("z.jpg:3\n"), "1 of 9 images have a label but no result, first z;"),
    "image without label": (
        write("result_Files/a_0.bin", np.zeros(CLASSES, np.float32).tobytes()),
        "1 of 9 images have a result but no label, first a;",
    ),
    "label out of range": (
        write("labels.txt", "".join(f"image {i}.jpg:12\n" for i in range(8))),
        "image 0 has the label 12, expected 0 to 11, the model's classes",
    ),
    "truncated result": (write("result_Files/image 4_0.bin", b"1234"), "image 4_0.bin has 4 bytes, expected 48 for 12"),
    "empty result": (write("result_Files/image 0_0.bin", b""), "image 0_0.bin has 0 bytes, expected 48 for 12 classes"),
    "long result": (write("result_Files/image 4_0.bin", bytes(49)), "image 4_0.bin has more than 48 bytes"),
    "result is not finite": (write("result_Files/image 4_0.bin", NAN), "holds values that are not finite"),
    "no results": (
        lambda f: [file.unlink() for file in (f / "result_Files").iterdir()],
        "result_Files holds no results, files that end in _0.bin; run the inference first",
    ),
    "no summary": (
        lambda f: (f / "time_Result/summary.json").unlink(),
        "the summary time_Result/summary.json cannot be read: No such file or directory",
    ),
    "summary is no JSON": (write("time_Result/summary.json", "{"), "time_Result/summary.json is not JSON"),
    "summary is a list": (write("time_Result/summary.json", "[1]"), "says dtype None and classes None"),
    "odd dtype": (write("time_Result/summary.json", '{"dtype": "int8", "classes": 12}'), "says dtype 'int8'"),
    "odd classes": (write("time_Result/summary.json", '{"dtype": "float32", "classes": -1}'), "and classes -1"),
    "other classes": (
        write("time_Result/summary.json", '{"dtype": "float32", "classes": 1000000}'),
        "image 0_0.bin has 48 bytes, expected 4000000 for 1000000 classes of float32",
    ),
}


@pytest.mark.parametrize("change, message", BAD.values(), ids=list(BAD))
def test_bad_files_are_one_line(change, message, folder, capsys):
    change(folder)
    assert run(postprocess.main, SUMMARY) == 1
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert line.startswith("error: ") and message in line
    assert len(line) < 300
    assert out == ""


def test_a_link_to_nowhere_is_one_line(folder, capsys):
    (folder / "result_Files/a_0.bin").symlink_to("nowhere")
    assert run(postprocess.main, command("--num_classes", "12")) == 1
    assert capsys.readouterr().err == "error: result_Files/a_0.bin cannot be read: No such file or directory\n"


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "arguments, status, message",
    [
        ([], 2, "the following arguments are required: --dataset, --result_path, --label_file"),
        (command(), 2, "one of the arguments --summary --num_classes is required"),
        (command("--summary", "a", "--num_classes", "2"), 2, "not allowed with argument"),
        (command("--num_classes", "many"), 2, "argument --num_classes: invalid int value: 'many'"),
        (command("--num_classes", "0"), 2, "--num_classes: found 0, expected at least 1"),
        (command("--num_classes", "13"), 1, "image 0_0.bin has 48 bytes, expected 52 (float32) or 26 (float16) for 13"),
        (["--data", "folder", *SUMMARY], 2, "unrecognized arguments: --data folder"),
        (["--dataset", "mnist", *SUMMARY[2:]], 2, "argument --dataset: invalid choice: 'mnist'"),
        (["--dataset", "cifar10", *SUMMARY[2:]], 1, "labels.txt has 112 bytes, not whole records of 3073 bytes"),
        ([*SUMMARY, "--result_path", "none"], 1, "the results none cannot be read: No such file or directory"),
    ],
)
def test_wrong_arguments_are_one_line(arguments, status, message, capsys):
    assert run(postprocess.main, arguments) == status
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert line.startswith("error: ") and message in line
    assert out == ""
