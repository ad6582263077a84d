"""Several labels a picture from end to end: a CSV file of grey 16-bit pictures, training, eval.py, ONNX, other data."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from commands import NETWORK, only
from multilabel_pictures import write_radiographs
from ranks import run_ranks
from sklearn.metrics import average_precision_score, roc_auc_score

import eval as evaluation
import eval_onnx
import export
import train
from src.deploy.model import load_model
from src.utils.checkpoint import load_checkpoint
from src.utils.errors import ReportedError, UsageError

pytestmark = pytest.mark.slow

FLAGS = ["--dataset", "csv", "--image_size", "32", "--per_batch_size", "16", "--augmentation", "none"]


def line_of(folder: Path, name: str) -> re.Match:
    text = (folder / name).read_text()
    form = r"after allreduce eval: auroc=(\d\.\d{4}), ap=(\d\.\d{4}), f1=(\d\.\d{4}), tot=(\d+)\n"
    return list(re.finditer(form, text))[-1]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """train/ and test/ with their labels.csv, and the run in out/."""
    root = tmp_path_factory.mktemp("multilabel")
    labels = write_radiographs(root / "train", 800, unknown=0.1)
    write_radiographs(root / "test", 120, seed=1)
    network = [*NETWORK[:2], "--block_config", "2,2", "--growth_rate", "8", "--stem_features", "16"]
    flags = ["--train_data_dir", labels, "--val_split", "0.2", "--max_epoch", EPOCHS, "--save_ckpt_path", root / "out"]
    # With 0.1 the same steps end at 0.951, still rising: too few of them for that rate, not too much noise.
    train.main([*network, *FLAGS, "--lr", "0.3", *map(str, flags)])
    return root


EPOCHS = 14


def test_it_learns(root):
    """14 classes; a patient's pictures are on one side."""
    run_folder = only(root / "out")
    found = line_of(run_folder, "train.log")
    held_out = int(found[4])
    assert float(found[1]) > 0.95 and 140 <= held_out <= 180 and held_out % 4 == 0
    log = (run_folder / "train.log").read_text()
    assert "several labels a picture" in log and "and 200 groups stay on one side" in log
    metadata = load_checkpoint(run_folder / "best.ckpt").metadata
    best = max(float(row["auroc"]) for row in csv.DictReader((run_folder / "metrics.csv").open()))
    assert (metadata["task"], metadata["progress"]["best_score"]) == ("multilabel", best)


def exported(root: Path, file_format: str, *flags: str) -> Path:
    argv = ["--ckpt_file", str(only(root / "out") / "best.ckpt"), "--file_format", file_format]
    return export.main([*argv, "--file_name", str(root / "model"), *flags])


@pytest.fixture(scope="module")
def onnx_model(root) -> Path:
    return exported(root, "ONNX", "--uncertain", "zeros")


@pytest.fixture(scope="module")
def engine_model(root) -> Path:
    return exported(root, "ENGINE")


def test_eval_holds_out_the_same_and_other_data_are_scored_as_scikit_learn_does(
    root, onnx_model, engine_model, forked, tmp_path
):
    """By one process and by two ranks, by ONNX Runtime and the CPU engine."""
    checkpoint = only(root / "out") / "best.ckpt"
    own = tmp_path / "own"
    (scores,) = evaluation.main(["--ckpt_files", str(checkpoint), "--save_ckpt_path", str(own)]).values()
    assert scores.auroc == load_checkpoint(checkpoint).metadata["progress"]["best_score"]
    other = ["--dataset", "csv", "--eval_data_dir", str(root / "test" / "labels.csv")]
    argv = ["--ckpt_files", str(checkpoint), *other, "--save_ckpt_path", str(tmp_path / "other")]
    (scores,) = evaluation.main([*argv, "--predictions", str(tmp_path / "p.csv")]).values()
    truth = np.array([row[2:] for row in csv.reader((root / "test" / "labels.csv").open())][1:], int)
    assert scores.seen == 120 and (scores.labels == truth).all()
    assert scores.auroc == pytest.approx(roc_auc_score(truth, scores.logits, average="macro"), abs=1e-12)
    expected = average_precision_score(truth, scores.logits, average="macro")
    assert scores.average_precision == pytest.approx(expected, abs=1e-12)
    table = list(csv.DictReader((only(tmp_path / "other") / "per_class_scores.csv").open()))
    assert [row["class"] for row in table] == [f"finding {k}" for k in range(14)]
    assert float(table[3]["auroc"]) == pytest.approx(roc_auc_score(truth[:, 3], scores.logits[:, 3]), abs=1e-12)
    first = next(csv.DictReader((tmp_path / "p.csv").open()))
    assert first["label"] == "|".join(f"finding {k}" for k in np.flatnonzero(truth[0]))
    assert float(first["probability1"]) == pytest.approx(1 / (1 + np.exp(-scores.logits[0].max())), abs=1e-6)
    with_onnx = eval_onnx.main(["--ckpt_files", str(onnx_model), *other, "--save_ckpt_path", str(tmp_path / "onnx")])
    np.testing.assert_allclose(with_onnx.logits, scores.logits, atol=1e-3)
    assert line_of(only(tmp_path / "onnx"), "eval_onnx.log")[4] == "120"
    argv = ["--engine", str(engine_model), *other, "--save_ckpt_path", str(tmp_path / "engine")]
    (with_engine,) = evaluation.main(argv).values()
    np.testing.assert_allclose(with_engine.logits, scores.logits, atol=1e-3)
    flags = ["--ckpt_files", checkpoint, *other, "--save_ckpt_path", tmp_path / "two"]
    run_ranks(forked, tmp_path / "logs", "eval", *flags)
    of_ranks = csv.DictReader((only(tmp_path / "two") / "per_class_scores.csv").open())
    for row, of_one in zip(of_ranks, table, strict=True):
        assert float(row["auroc"]) == pytest.approx(float(of_one["auroc"]), abs=1e-12)
        assert float(row["average_precision"]) == pytest.approx(float(of_one["average_precision"]), abs=1e-12)


def test_exports_say_sigmoid_and_answers_are_of_each_class(root, onnx_model, engine_model):
    assert json.loads(onnx_model.with_name("model.onnx.json").read_text())["activation"] == "sigmoid"
    picture = root / "test" / "0.png"
    files = (onnx_model, only(root / "out") / "best.ckpt", engine_model)
    found = [load_model(path).predict(picture, top=14) for path in files]
    assert sum(probability for _, probability in found[0]) != pytest.approx(1, abs=1e-3)
    of_onnx, expected, of_engine = ([dict(answer)[f"finding {k}"] for k in range(14)] for answer in found)
    np.testing.assert_allclose(of_onnx, expected, atol=1e-4)
    np.testing.assert_allclose(of_engine, expected, atol=1e-4)


def test_a_report_and_a_temperature(root, tmp_path):
    """The same order of scores, with probabilities that mean more; what was written is read back."""
    checkpoint, data = only(root / "out") / "best.ckpt", ["--eval_data_dir", str(root / "test" / "labels.csv")]
    argv = ["--ckpt_files", str(checkpoint), "--dataset", "csv", *data, "--save_ckpt_path", str(tmp_path / "out")]
    (before,) = evaluation.main([*argv, "--calibrate", "--report", str(tmp_path / "report.html")]).values()
    text = (tmp_path / "report.html").read_text("utf-8")
    assert f'<p class="headline">{before.auroc:.4f}</p>' in text and text.count("data:image/jpeg;base64,") == 48
    folder = only(tmp_path / "out")
    calibrated = folder / "calibrated.ckpt"
    argv[1], argv[-1] = str(calibrated), str(tmp_path / "again")
    (after,) = evaluation.main(argv).values()
    assert (after.auroc, after.average_precision) == (before.auroc, before.average_precision)
    assert after.loss < before.loss
    temperature = load_checkpoint(calibrated).metadata["temperature"]
    np.testing.assert_allclose(after.logits * temperature, before.logits, rtol=1e-5, atol=1e-5)
    told = re.search(r"calibrated on \d+ images: .* loss (\S+) -> (\S+), measured", (folder / "eval.log").read_text())
    assert told.groups() == (f"{before.loss:.4f}", f"{after.loss:.4f}")


@pytest.mark.parametrize("command", ["eval", "eval_onnx", "export"])
def test_where_pictures_are_and_what_uncertain_is(command, root, onnx_model, tmp_path):
    """image_root and uncertain, in the commands that read the data again."""
    rows = [f"{i}.png" + ",0" * 13 + (",-1" if i < 8 else f",{i % 2}") for i in range(20)]
    header = "image," + ",".join(f"finding {k}" for k in range(14))
    (tmp_path / "elsewhere.csv").write_text("\n".join([header, *rows]) + "\n")
    data = ["--dataset", "csv", "--eval_data_dir", str(tmp_path / "elsewhere.csv")]
    found = ["--image_root", str(root / "test")]
    if command == "export":
        argv = ["--ckpt_file", str(only(root / "out") / "best.ckpt"), "--file_format", "ONNX", "--quantize", *data]
        argv += ["--train_data_dir", str(tmp_path / "elsewhere.csv"), "--calibration_images", "8"]
        with pytest.raises(ReportedError, match=r"there is no file .*; give --image_root|relative to the CSV"):
            export.main([*argv, "--file_name", str(tmp_path / "a")])
        return
    main = {"eval": evaluation.main, "eval_onnx": eval_onnx.main}[command]
    model = only(root / "out") / "best.ckpt" if command == "eval" else onnx_model
    argv = ["--ckpt_files", str(model), *data, "--save_ckpt_path", str(tmp_path / "out")]
    with pytest.raises(ReportedError, match="there is no file"):
        main(argv)
    as_exported = 20 if command == "eval_onnx" else 12
    for flags, known in ((["--uncertain", "ignore"], 12), (["--uncertain", "ones"], 20), ([], as_exported)):
        scores = main([*argv, *found, *flags])
        scores = scores if command == "eval_onnx" else next(iter(scores.values()))
        assert scores.figures()["images"][13] == known


def test_a_figure_of_the_other_task_is_refused(root, tmp_path):
    labels = root / "test" / "labels.csv"
    for flags, message in (
        (["--best_metric", "top1"], "best_metric is top1, but data with several labels a picture have auroc, macro_f1"),
        (["--task", "single"], "pictures of .* have not exactly one; expected one with --task single"),
    ):
        with pytest.raises((UsageError, ReportedError), match=message):
            train.main([*NETWORK, *FLAGS, "--train_data_dir", str(labels), *flags, "--save_ckpt_path", str(tmp_path)])
