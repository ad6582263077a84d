"""predict.py: the same answers from every kind of model file, written as they are asked for."""

import csv
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from commands import ROOT, write_pictures
from documents import blocks
from PIL import Image
from shared import made_once
from sklearn.datasets import load_digits

import eval as evaluation
import export
import predict
from src.datasets.pictures import open_pictures
from src.deploy.answers import as_line
from src.deploy.model import load_model
from src.network.build import build_network
from src.training.model_card import model_card_of
from src.utils.accuracy import cross_entropy
from src.utils.checkpoint import load_checkpoint, save_checkpoint
from src.utils.errors import ReportedError, UsageError

pytestmark = pytest.mark.slow
COUNT = 320


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Handwritten digits as pictures of several sizes, in one folder."""

    def write(folder):
        digits = load_digits().images[-COUNT:]
        for i, pixels in enumerate(digits):
            Image.fromarray((pixels * 255 / 16).astype(np.uint8)).resize((20 + i % 9, 24)).save(folder / f"{i:03d}.png")

    return made_once(tmp_path_factory, "digit_pictures", write)


@pytest.fixture(scope="module")
def models(tmp_path_factory, trained_run):
    """name -> file, made from one checkpoint."""

    def make(folder):
        for name, flags in (("exact", []), ("half", ["--export_fp16", "true"])):
            target = ["--file_format", "ONNX", "--file_name", str(folder / name)]
            export.main(["--ckpt_file", str(trained_run / "best.ckpt"), *target, *flags])
        target = ["--file_format", "ENGINE", "--file_name", str(folder / "digits")]
        export.main(["--ckpt_file", str(trained_run / "best.ckpt"), *target])

    folder = made_once(tmp_path_factory, "models_that_answer", make)
    return {
        "checkpoint": trained_run / "best.ckpt",
        "onnx": folder / "exact.onnx",
        "fp16": folder / "half.onnx",
        "engine": folder / "digits.engine",
    }


def answers(model, pictures, *flags):
    return predict.main(["--model", str(model), "--images", str(pictures), *flags])


@pytest.fixture(scope="module")
def from_checkpoint(models, pictures):
    return answers(models["checkpoint"], pictures, "--top", "10")


@pytest.mark.parametrize(
    ("name", "flags", "tolerance"),
    [
        ("onnx", [], 1e-4),
        ("engine", [], 1e-4),
        ("engine", ["--per_batch_size", "7"], 1e-4),
        ("fp16", [], 2e-2),
        ("checkpoint", ["--cpu_kernels", "off"], 1e-4),
        ("checkpoint", ["--per_batch_size", "7", "--num_parallel_workers", "1"], 1e-4),
    ],
)
def test_every_model_file_gives_the_same_answers(models, pictures, from_checkpoint, name, flags, tolerance):
    found = answers(models[name], pictures, "--top", "10", *flags)
    assert len(found) == COUNT
    for (image, best), (expected_image, expected) in zip(found, from_checkpoint, strict=True):
        assert image == expected_image
        assert dict(best) == pytest.approx(dict(expected), abs=tolerance)
        if tolerance < 1e-3 and expected[0][1] - expected[1][1] > 2 * tolerance:
            assert best[0][0] == expected[0][0]


def test_tta_answers_with_a_picture_and_its_mirror_image(models, tmp_path):
    pictures = write_pictures(tmp_path / "pictures", ("7",), each=3) / "7"
    (tmp_path / "turned").mkdir()
    for path in pictures.iterdir():
        Image.open(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "turned" / f"{path.stem}.png")
        Image.open(path).save(pictures / f"{path.stem}.png")
        path.unlink()
    single, turned = (answers(models["onnx"], folder, "--top", "10") for folder in (pictures, tmp_path / "turned"))
    for name, tolerance in (("onnx", 1e-4), ("checkpoint", 2e-3)):
        flags = ["--heatmap", str(tmp_path / "heat")] if name == "onnx" else []
        both = answers(models[name], pictures, "--top", "10", "--tta", *flags)
        for (_, found), (_, one), (_, other) in zip(both, single, turned, strict=True):
            mean = {label: (p + dict(other)[label]) / 2 for label, p in one}
            assert dict(found) == pytest.approx(mean, abs=tolerance)
    assert len(list((tmp_path / "heat").iterdir())) == 3


@pytest.mark.parametrize("name", ["onnx", "engine"])
def test_exported_models_answer_without_mindspore(models, pictures, from_checkpoint, name):
    """Its import alone takes longer than a whole answer."""
    program = "import sys; sys.modules['mindspore'] = None; import predict; predict.main(sys.argv[1:])"
    argv = ["--model", models[name], "--images", pictures / "003.png", "--top", "3"]
    done = subprocess.run([sys.executable, "-c", program, *map(str, argv)], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == as_line("003.png", from_checkpoint[3][1][:3], 0)


def test_the_answers_are_those_of_eval(trained_run, tmp_path):
    pictures = write_pictures(tmp_path / "pictures", ("3",), each=4)
    table = tmp_path / "predictions.csv"
    flags = ["--dataset", "folder", "--eval_data_dir", str(pictures), "--save_ckpt_path", str(tmp_path / "out")]
    evaluation.main(["--ckpt_files", str(trained_run / "best.ckpt"), "--predictions", str(table), *flags])
    answers(trained_run / "best.ckpt", pictures / "3", "--output", str(tmp_path / "answers.csv"))
    expected = list(csv.DictReader(table.open()))
    found = list(csv.DictReader((tmp_path / "answers.csv").open()))
    assert len(found) == 4
    for row, other in zip(found, expected, strict=True):
        assert other["image"].endswith(row["image"])
        assert row["answer"] == row["top1"] == other["top1"]
        for rank in "12345":
            assert row[f"top{rank}"] == other[f"top{rank}"]
            assert float(row[f"probability{rank}"]) == pytest.approx(float(other[f"probability{rank}"]), abs=2e-6)


def test_output(models, pictures, from_checkpoint, tmp_path, capsys):
    """Both forms say what is printed; an answer below the threshold is unknown."""
    surest = sorted(best[0][1] for _, best in from_checkpoint)
    threshold = (surest[COUNT // 2 - 1] + surest[COUNT // 2]) / 2
    capsys.readouterr()
    for form in ("csv", "json"):
        flags = ["--output", str(tmp_path / f"answers.{form}"), "--top", "2", "--unknown_below", str(threshold)]
        found = answers(models["onnx"], pictures, *flags)
    lines = [line for line in capsys.readouterr().out.splitlines() if ".png: " in line][:COUNT]
    table = list(csv.reader((tmp_path / "answers.csv").open()))
    assert table[0] == ["image", "answer", "top1", "top2", "probability1", "probability2"]
    listed = json.loads((tmp_path / "answers.json").read_text("utf-8"))
    assert sum(row[1] == "unknown" for row in table[1:]) == pytest.approx(COUNT / 2, abs=2)
    for (image, best), row, entry, line in zip(found, table[1:], listed, lines, strict=True):
        assert [image, *(name for name, _ in best)] == [row[0], *row[2:4]]
        assert [(one["class"], one["probability"]) for one in entry["top"]] == [
            (name, pytest.approx(float(number), abs=1e-6)) for name, number in zip(row[2:4], row[4:], strict=True)
        ]
        unknown = best[0][1] < threshold
        assert row[1] == entry["answer"] == ("unknown" if unknown else best[0][0])
        assert line.startswith(f"{image}: unknown (" if unknown else f"{image}: {best[0][0]} {100 * best[0][1]:.2f} %")


def test_heat_maps(models, pictures, tmp_path):
    """One PNG an image from each kind of file; those that are there are not overwritten."""
    one = pictures / "007.png"
    drawn = []
    for name in ("checkpoint", "onnx", "engine"):
        answers(models[name], one, "--heatmap", str(tmp_path / name))
        (picture,) = (tmp_path / name).iterdir()
        assert picture.name == "007.png.png"
        drawn.append(np.asarray(Image.open(picture).convert("RGB")).astype(int))
    assert np.abs(drawn[0] - drawn[1]).max() <= 2
    assert np.abs(drawn[0] - drawn[2]).max() <= 2
    _, width, _ = drawn[0].shape
    left, right = drawn[0][32:, : width // 2 - 8], drawn[0][32:, width // 2 : width - 8]
    assert np.abs(left - right).max() > 50
    assert np.ptp(left - left[..., :1], axis=None) == 0  # the digit is grey, the heat is not
    with pytest.raises(UsageError, match=r"007\.png\.png exists and is not overwritten"):
        answers(models["onnx"], one, "--heatmap", str(tmp_path / "onnx"))


def test_every_heat_is_the_same_from_every_file(models, pictures):
    """Also of the classifier's weights in float16."""
    heats = {}
    for name, model in models.items():
        loaded = load_model(model, heat_maps=True)
        found = loaded.answers(open_pictures(pictures), top=1, batch_size=64, workers=1, with_heat=True)
        heats[name] = np.stack([answer.heat for answer in found])
    assert heats["checkpoint"].max() > 0
    np.testing.assert_allclose(heats["onnx"], heats["checkpoint"], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(heats["engine"], heats["checkpoint"], rtol=1e-3, atol=1e-5)
    largest = heats["checkpoint"].max((1, 2), keepdims=True)
    assert np.median(np.abs(heats["fp16"] - heats["checkpoint"]) / np.maximum(largest, 1e-3)) < 1e-2


def test_from_python(models, pictures):
    model = load_model(models["onnx"])
    path = pictures / "012.png"
    by_path = model.predict(path, top=3)
    assert by_path == model.predict(str(path), top=3) == model.predict(np.asarray(Image.open(path).convert("RGB")), 3)
    assert len(by_path) == 3
    assert [name for name, _ in by_path] == [name for name, _ in model.predict(path)][:3]
    for array in (np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), np.zeros((0, 8, 3), np.uint8)):
        with pytest.raises(UsageError, match="expected a picture: uint8"):
            model.predict(array)
    with pytest.raises(UsageError, match="expected one picture"):
        model.predict(pictures)


def test_probabilities_are_those_of_the_logits(models, pictures):
    model = load_model(models["onnx"])
    seen = []
    logits = model.logits

    def kept(images):
        seen.append(logits(images))
        return seen[-1]

    object.__setattr__(model, "logits", kept)
    for name, probability in model.predict(pictures / "001.png", top=10):
        label = np.array([model.class_names.index(name)])
        assert probability == pytest.approx(float(np.exp(-cross_entropy(seen[0], label))[0]), abs=1e-9)


def test_what_cannot_be_answered(models, pictures, tmp_path, capsys):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_text("no picture")
    Image.new("RGB", (9, 9)).save(tmp_path / "bad" / "b.jpg")
    with pytest.raises(ReportedError, match=r"a\.jpg should be a complete JPEG"):
        answers(models["onnx"], tmp_path / "bad")
    assert [image for image, _ in answers(models["onnx"], tmp_path / "bad", "--on_bad_image", "skip")] == ["b.jpg"]
    assert "skipped: " in capsys.readouterr().out
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReportedError, match="holds no pictures"):
        answers(models["onnx"], tmp_path / "empty")
    for name in ("answers.csv", "taken"):
        (tmp_path / name).write_text("kept")
    with pytest.raises(UsageError, match=r"answers\.csv exists and is not overwritten"):
        answers(models["onnx"], pictures, "--output", str(tmp_path / "answers.csv"))
    with pytest.raises(UsageError, match="taken cannot become a folder"):
        answers(models["onnx"], pictures, "--heatmap", str(tmp_path / "taken"))
    assert (tmp_path / "answers.csv").read_text() == (tmp_path / "taken").read_text() == "kept"
    for name in ("gone.ckpt", "gone.onnx", "gone.engine"):
        with pytest.raises(ReportedError, match=f"{name} does not exist"):
            answers(tmp_path / name, pictures)
    (tmp_path / "page.ckpt").write_text("<!DOCTYPE html><html></html>")
    with pytest.raises(ReportedError, match="it is an HTML page"):
        answers(tmp_path / "page.ckpt", pictures)


def test_weights_alone_do_not_say_how_to_use_them(trained_run, pictures, tmp_path):
    network = build_network(
        model_card_of(load_checkpoint(trained_run / "best.ckpt")).architecture, device="CPU", cpu_kernels="off",
        cpu_precision="fp32",
    )  # fmt: skip
    save_checkpoint(tmp_path / "zoo.ckpt", network.get_parameters(), None)
    with pytest.raises(ReportedError, match=r"holds weights alone.*python -m src\.deploy\.convert_weights"):
        answers(tmp_path / "zoo.ckpt", pictures)


def test_the_lines_of_the_page_answer(models, pictures, monkeypatch, tmp_path, capsys):
    (program,) = blocks("docs/prediction.md", "python")
    assert blocks("docs/zh/prediction.md", "python") == [program]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "holiday.jpg").write_bytes((pictures / "000.png").read_bytes())
    shutil.copy(models["onnx"], tmp_path / "flowers.onnx")
    exec(program.replace("output/RUN/best.ckpt", "flowers.onnx"), {})  # noqa: S102 - our own document
    lines = capsys.readouterr().out.splitlines()[-5:]
    expected = answers(models["onnx"], pictures / "000.png")[0][1]
    assert lines == [f"{name} {probability:.1%}" for name, probability in expected]
