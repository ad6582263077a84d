"""What run_infer_310.sh and the flags that it asks for refuse: bad usage, and inputs that do not fit each other."""

import shutil
from pathlib import Path

import pytest
from infer_310 import ARGUMENTS, SCRIPT, make_model, run_script

from src.deploy import infer_flags, write_labels
from src.utils.errors import run


def test_the_usage_is_what_the_header_says(tmp_path):
    done = run_script(tmp_path, "model.mindir", "folder", "data", "labels.txt")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line == "usage: bash scripts/run_infer_310.sh MINDIR_PATH DATASET DATA_PATH LABEL_FILE DEVICE_ID"
    assert "#   " + line.removeprefix("usage: ") in SCRIPT.read_text("utf-8").splitlines()


CPU = {"DEVICE_TARGET": "CPU"}


@pytest.mark.parametrize(
    "change, environment, status, message",
    [
        ({4: "first"}, CPU, 2, "DEVICE_ID is 'first', expected a number from 0"),
        ({3: "-"}, CPU, 2, "LABEL_FILE is -, but only cifar10 carries its own labels; give a label file"),
        ({1: "pictures"}, CPU, 2, "LABEL_FILE is 'my labels.txt', but DATASET pictures has no labels; give - instead"),
        ({}, {"DEVICE_TARGET": "GPU"}, 2, "DEVICE_TARGET is 'GPU', expected Ascend or CPU"),
        ({0: "a.engine"}, {}, 2, "MINDIR_PATH is {folder}/a.engine, a file of the CPU engine; set DEVICE_TARGET=CPU"),
        ({}, {}, 1, "LITE_HOME is not set; set it to the folder of MindSpore Lite for Ascend, unpacked"),
        ({}, {"LITE_HOME": "."}, 1, "the CANN toolkit's environment is not loaded: ASCEND_HOME_PATH is not set"),
        ({}, {"LITE_HOME": "/no lite"} | CPU, 1, "LITE_HOME is /no lite, which holds no include/api/model.h; give the"),
    ],
)
def test_arguments_are_checked_before_anything_starts(change, environment, status, message, tmp_path):
    arguments = [change.get(i, argument) for i, argument in enumerate(ARGUMENTS)]
    done = run_script(tmp_path, *arguments, **environment)
    assert done.returncode == status
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {message.format(folder=tmp_path)}")
    assert list(tmp_path.iterdir()) == []


def edit_labels(old: str, new: str):
    def change(folder: Path) -> None:
        labels = folder / "my labels.txt"
        text = labels.read_text()
        assert old in text
        labels.write_text(text.replace(old, new, 1))

    return change


def drop_class(folder: Path) -> None:
    """The label file then numbers the classes otherwise than the network."""
    shutil.rmtree(folder / "held out/bee")
    (folder / "my labels.txt").unlink()
    write_labels.main([str(folder / "held out"), str(folder / "my labels.txt")])


def same_names(folder: Path) -> None:
    (folder / "held out/ant/ant 0.png").hardlink_to(folder / "held out/ant/ant 0.jpg")


BAD_INPUTS = {
    "no model": ({0: "none.mindir"}, None, "there is no file {}/none.mindir"),
    "a model that was replaced": (
        {},
        lambda f: (f / "my model.mindir").write_bytes(b"x"),
        "{}/my model.mindir is not the",
    ),
    "no description": ({}, lambda f: (f / "my model.mindir.json").unlink(), "there is no file {}/my model.mindir.json"),
    "version 3": (
        {0: "new.mindir"},
        None,
        "{}/new.mindir is MindIR version 3, but this MindSpore Lite reads version 1",
    ),
    "another kind of data": (
        {1: "cifar10", 3: "-"},
        None,
        "DATASET is cifar10, but {}/my model.mindir was trained on folder",
    ),
    "no pictures": ({1: "pictures", 3: "-"}, None, "{}/held out holds no pictures; expected them directly in it"),
    "unknown data set": ({1: "digits"}, None, "argument DATASET: invalid choice: 'digits'"),
    "no data": ({2: "none"}, None, "{}/none cannot be read: No such file or directory"),
    "data without classes": ({2: "held out/ant"}, None, "{}/held out/ant has no class folders with pictures in them"),
    "no labels": ({3: "none.txt"}, None, "the labels {}/none.txt cannot be read: No such file or directory"),
    "not a label": ({}, edit_labels("ant 0.jpg:0", "ant 0.jpg:ant"), "{}/my labels.txt has 'ant 0.jpg:ant' in line 1"),
    "label too large": ({}, edit_labels("ant 0.jpg:0", "ant 0.jpg:12"), "ant 0 has the label 12, expected 0 to 11"),
    "a missing picture": (
        {},
        edit_labels("ant 0.jpg", "ant x.jpg"),
        "1 of 61 images have a label but no picture, first ant x",
    ),
    "a picture too many": (
        {},
        edit_labels("ant 0.jpg:0\n", ""),
        "1 of 60 images have a picture but no label, first ant 0",
    ),
    "classes numbered otherwise": ({}, drop_class, "cat/cat 0.jpg has the label 1, but cat is the model's class 2;"),
    "one name twice": ({}, same_names, "{}/held out holds ant/ant 0.jpg and ant/ant 0.png, whose results would"),
}


@pytest.mark.slow
@pytest.mark.parametrize("change, edit, message", BAD_INPUTS.values(), ids=list(BAD_INPUTS))
def test_inputs_that_do_not_fit_are_one_line(change, edit, message, pictures, tmp_path, capsys):
    folder = tmp_path / "copy"
    shutil.copytree(pictures, folder, ignore=shutil.ignore_patterns("run", "training"))
    if change.get(0) == "new.mindir":
        make_model(folder / "best.ckpt", folder / "new")
    if edit:
        edit(folder)
    capsys.readouterr()
    arguments = [change.get(i, argument) for i, argument in enumerate(ARGUMENTS[:4])]
    paths = [a if i == 1 or a == "-" else str(folder / a) for i, a in enumerate(arguments)]
    assert run(infer_flags.main, [*paths, "--newest_mindir", "1"]) in (1, 2)
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert line.startswith("error: " + message.format(folder))
    assert out == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    "change, status, message",
    [
        ({0: "none.mindir"}, 1, "there is no file {}/none.mindir; export the model with export.py, which writes both"),
        ({1: "digits"}, 2, "argument DATASET: invalid choice: 'digits'"),
    ],
)
def test_the_script_stops_at_bad_inputs(change, status, message, pictures, tmp_path):
    arguments = [change.get(i, argument) for i, argument in enumerate(ARGUMENTS)]
    paths = [a if i in (1, 4) else pictures / a for i, a in enumerate(arguments)]
    done = run_script(tmp_path, *paths, DEVICE_TARGET="CPU")
    assert done.returncode == status
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: " + message.format(pictures))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_flags_are_those_of_the_description(pictures, capsys):
    paths = [str(pictures / name) for name in ("my model.mindir", "held out", "my labels.txt")]
    infer_flags.main([paths[0], "folder", *paths[1:]])
    assert capsys.readouterr().out.splitlines() == [
        "--image_size=16",
        "--resize=16",
        "--resize_mode=squash",
        "--interpolation=bilinear",
        "--pixels=shown",
        "--mean=0.485,0.456,0.406",
        "--std=0.229,0.224,0.225",
        "--activation=softmax",
    ]
