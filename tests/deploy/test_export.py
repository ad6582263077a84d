"""Exports of a trained network: the same answers in the other runtime, or no file."""

import hashlib
import re
from types import SimpleNamespace

import mindspore as ms
import numpy as np
import onnx
import pytest
from mindspore import Tensor, nn
from onnx import numpy_helper
from PIL import Image

import eval as evaluation
import eval_onnx
import export
from src.datasets.classification import evaluation_batches
from src.datasets.digits import open_digits
from src.datasets.preprocessing import default_preprocessing
from src.datasets.sources import open_source
from src.deploy import export as deploy_export
from src.deploy.engine_model import EngineModel
from src.deploy.export import checked_images, compare
from src.deploy.manifest import manifest_path, read_manifest
from src.deploy.onnx_session import OnnxModel
from src.network.densenet import DenseNet
from src.training.evaluation import PredictStep
from src.training.model_card import model_card_of
from src.utils.checkpoint import load_checkpoint, load_weights
from src.utils.errors import ReportedError

pytestmark = pytest.mark.slow

HELD_OUT = 355


@pytest.fixture(scope="module")
def reference(trained_checkpoint):
    """Held-out images (355, 3, 8, 8), their labels, and the trained network's logits (355, 10)."""
    checkpoint = load_checkpoint(trained_checkpoint)
    card = model_card_of(checkpoint)
    network = DenseNet(card.architecture)
    load_weights(network, checkpoint)
    source = open_source("digits", "", split="eval")
    ((images, labels, _),) = evaluation_batches(source, card.preprocessing, batch_size=HELD_OUT, workers=1)
    return images, labels, PredictStep(network).logits(images)


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def test_the_network_is_trained(reference):
    _, labels, logits = reference
    assert (logits.argmax(1) == labels).mean() > 0.8


@pytest.mark.parametrize("batch_size", [1, 7, 32])
def test_onnx_gives_the_same_logits_for_any_batch(batch_size, exported, reference):
    images, _, expected = reference
    model = OnnxModel(exported("--file_format ONNX"), "CPU", 1)
    found = np.concatenate([model(images[i : i + batch_size]) for i in range(0, HELD_OUT, batch_size)])
    assert relative(found, expected) < 1e-5
    assert (found.argmax(1) == expected.argmax(1)).all()


def test_onnx_describes_itself(exported, trained_checkpoint):
    path = exported("--file_format ONNX")
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    dims = [
        [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in (*model.graph.input, *model.graph.output)
    ]
    assert [v.name for v in (*model.graph.input, *model.graph.output)] == ["images", "logits"]
    assert dims == [["batch", 3, 8, 8], ["batch", 10]]
    card = model_card_of(load_checkpoint(trained_checkpoint))
    for manifest in (OnnxModel(path, "CPU", 1).manifest, read_manifest(path)):
        assert manifest.class_names == tuple("0123456789")
        assert (manifest.architecture, manifest.preprocessing) == (card.architecture, card.preprocessing)
        assert (manifest.dataset, manifest.batch_size, manifest.precision) == ("digits", 0, "float32")
    assert read_manifest(path).verified["max_relative_difference"] < 1e-5
    assert read_manifest(path).verified["batch_sizes"] == [1, 7, 32]
    assert hashlib.sha256(path.read_bytes()).hexdigest() in manifest_path(path).read_text()


@pytest.mark.parametrize(("flags", "batches"), [("--batch_size 5", [5]), ("--batch_size 0", [1, 5, 32])])
def test_mindir_gives_the_same_bits(flags, batches, exported, reference):
    images, _, expected = reference
    path = exported(flags)
    graph = nn.GraphCell(ms.load(str(path)))
    for size in batches:
        assert relative(graph(Tensor(images[:size])).asnumpy(), expected[:size]) < 1e-6
    assert read_manifest(path).batch_size == int(flags.split()[1])


@pytest.mark.parametrize("flags", ["--file_format ONNX --export_fp16", "--file_format MINDIR --export_fp16"])
def test_half_precision(flags, exported, reference):
    images, _, expected = reference
    path = exported(flags)
    assert read_manifest(path).precision == "float16"
    if path.suffix == ".onnx":
        found = OnnxModel(path, "CPU", 1)(images)
        kinds = {value.data_type for value in onnx.load(path).graph.initializer if len(value.dims) == 4}
        assert kinds == {onnx.TensorProto.FLOAT16}
    else:
        graph = nn.GraphCell(ms.load(str(path)))
        images, expected = images[:20], expected[:20]
        found = np.concatenate([graph(Tensor(images[i : i + 1])).asnumpy() for i in range(20)])
    assert 1e-5 < relative(found, expected) < 2e-2


def test_int8_is_measured_on_held_out_images(exported, reference):
    images, labels, _ = reference
    path = exported("--file_format ONNX --quantize --calibration_images 40")
    graph = onnx.load(path).graph
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in graph.node}
    # 7 bits: 2 * 255 * 64 < 2^15, so that the file answers the same on CPUs that add pairs of products in 16 bits.
    weights = [numpy_helper.to_array(t) for t in graph.initializer if t.data_type == onnx.TensorProto.INT8]
    assert max(np.abs(weight.astype(int)).max() for weight in weights) <= 64
    verified = read_manifest(path).verified
    top1 = (OnnxModel(path, "CPU", 1)(images).argmax(1) == labels).mean()
    assert verified["images"] == HELD_OUT
    assert verified["int8_top1"] == pytest.approx(top1, abs=0.01)
    assert verified["top1_loss"] == verified["float32_top1"] - verified["int8_top1"] < 0.05
    assert verified["speed_up"] > 0


def test_int8_for_the_engine_is_measured_on_held_out_images(exported, reference, tmp_path):
    images, labels, logits = reference
    path = exported("--file_format ENGINE --quantize --calibration_images 300")
    model, verified = EngineModel(path), read_manifest(path).verified
    assert model.manifest.precision == read_manifest(path).precision == "int8"
    answers = model(images).argmax(1)
    assert verified["images"] == HELD_OUT
    assert verified["int8_top1"] == pytest.approx((answers == labels).mean(), abs=1e-9)
    assert verified["float32_top1"] == pytest.approx((logits.argmax(1) == labels).mean(), abs=1e-9)
    assert verified["agreement"] == pytest.approx((answers == logits.argmax(1)).mean(), abs=1e-9)
    assert verified["agreement"] > 0.98
    assert abs(verified["top1_loss"]) <= 0.005
    with pytest.raises(ReportedError, match="bf16"):
        EngineModel(path, precision="bf16")
    (found,) = evaluation.main(["--engine", str(path), "--save_ckpt_path", str(tmp_path)]).values()
    assert found.top1 == pytest.approx(verified["int8_top1"], abs=1e-9)
    (log,) = tmp_path.glob("*/eval.log")
    assert f"{model.instruction_set}, int8" in log.read_text()


@pytest.mark.parametrize("wrong_batch", [1, 7, 32])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1.001])
def test_a_wrong_answer_at_one_batch_size_is_noticed(wrong_batch, wrong, exported):
    def model(images):
        logits = np.ones((len(images), 10), np.float32)
        if len(images) == wrong_batch:
            logits[-1, 3] = wrong
        return logits

    images, manifest = np.zeros((32, 3, 8, 8), np.float32), read_manifest(exported("--file_format ONNX"))
    with pytest.raises(ReportedError, match=r"more than 0\.0001; it is not kept"):
        compare(model, images, np.ones((32, 10), np.float32), manifest)


@pytest.mark.parametrize("device", ["Ascend", "GPU"])
def test_a_network_on_a_device_that_rounds_float32_is_compared_as_loosely_as_it_rounds(monkeypatch, exported, device):
    monkeypatch.setattr(deploy_export.ms, "get_current_device", lambda: SimpleNamespace(device_target=device))
    images, manifest = np.zeros((32, 3, 8, 8), np.float32), read_manifest(exported("--file_format ONNX"))
    expected = np.ones((32, 10), np.float32)
    found = compare(lambda batch: expected[: len(batch)] * np.float32(1.003), images, expected, manifest)
    assert found["tolerance"] == 0.01
    with pytest.raises(ReportedError, match=r"more than 0\.01; it is not kept"):
        compare(lambda batch: expected[: len(batch)] * np.float32(1.02), images, expected, manifest)


def test_a_model_that_answers_otherwise_is_not_kept(trained_checkpoint, tmp_path, monkeypatch):
    def scaled(step, manifest, path):
        for parameter in step.network.get_parameters():
            if parameter.name == "head.fc.bias":
                parameter.set_data(parameter + 0.1)
        write_onnx(step, manifest, path)

    write_onnx = deploy_export.write_onnx
    monkeypatch.setattr(deploy_export, "write_onnx", scaled)
    argv = ["--ckpt_file", str(trained_checkpoint), "--file_format", "ONNX", "--file_name", str(tmp_path / "model")]
    with pytest.raises(
        ReportedError, match=r"logits differ from the network's by .* more than 0\.0001; it is not kept"
    ):
        export.main(argv)
    assert list(tmp_path.iterdir()) == []


def test_without_a_name_it_is_called_after_the_network(trained_checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert export.main(["--ckpt_file", str(trained_checkpoint)]).name == "densenet100.mindir"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["densenet100.mindir", "densenet100.mindir.json"]


def test_checked_images_are_photographs_and_noise():
    images = checked_images(default_preprocessing("folder", 32), 7)
    assert (images.shape, images.dtype) == ((7, 3, 32, 32), np.float32)
    smoothness = np.abs(np.diff(images, axis=3)).mean((1, 2, 3)) / images.std((1, 2, 3))
    assert ((smoothness < 0.8).sum(), (smoothness > 1).sum()) == (4, 3)


@pytest.fixture(scope="module")
def both_answers(exported, trained_checkpoint, tmp_path_factory):
    """eval.py's and eval_onnx.py's result for the held-out digits, and the CSV each wrote."""
    folder = tmp_path_factory.mktemp("answers")
    results = []
    for name, main, model in (
        ("eval", evaluation.main, trained_checkpoint),
        ("onnx", eval_onnx.main, exported("--file_format ONNX")),
    ):
        flags = ["--predictions", str(folder / f"{name}.csv"), "--save_ckpt_path", str(folder / name)]
        results.append(main(["--ckpt_files", str(model), *flags]))
    return *results, folder


def test_eval_onnx_counts_and_says_what_eval_does(both_answers):
    by_path, onnx_accuracy, folder = both_answers
    (accuracy,) = by_path.values()
    assert accuracy.seen == HELD_OUT
    assert accuracy.confusion.tolist() == onnx_accuracy.confusion.tolist()
    (log,) = folder.glob("onnx/*/eval_onnx.log")
    line = f"after allreduce eval: top1_correct={accuracy.top1_correct}, tot=355, acc={100 * accuracy.top1:.2f}%"
    assert log.read_text().splitlines()[-1].endswith(line)
    assert {p.name for p in log.parent.iterdir()} >= {"confusion_matrix.png", "per_class_accuracy.csv"}


def test_eval_onnx_names_the_same_five_classes_for_every_image(both_answers):
    folder = both_answers[2]
    ours, theirs = ((folder / f"{name}.csv").read_text().splitlines() for name in ("eval", "onnx"))
    assert len(ours) == HELD_OUT + 1
    for a, b in zip(ours, theirs, strict=True):
        assert a.split(",")[:7] == b.split(",")[:7]


def test_images_prints_the_five_best_of_each_picture(exported, tmp_path, capsys):
    source = open_digits("eval")
    for i in (3, 40, 77):
        Image.fromarray(source.read(i)).save(tmp_path / f"{i:03d} é.png")
    (tmp_path / "notes.txt").write_text("no picture")
    model = str(exported("--file_format ONNX"))
    capsys.readouterr()  # what the export has said
    assert eval_onnx.main(["--ckpt_files", model, "--images", str(tmp_path)]) is None
    left_out, *lines = capsys.readouterr().out.splitlines()
    assert "notes.txt" in left_out or "no pictures" in left_out, left_out
    assert [line.split(":")[0] for line in lines] == ["003 é.png", "040 é.png", "077 é.png"]
    for line, i in zip(lines, (3, 40, 77), strict=True):
        assert len(re.findall(r"\d (\d+\.\d\d) %", line)) == 5
        assert line.split(": ")[1][0] == str(source.labels[i])
    eval_onnx.main(["--ckpt_files", model, "--images", str(tmp_path / "040 é.png"), "--per_batch_size", "1"])
    assert capsys.readouterr().out.splitlines() == lines[1:2]
