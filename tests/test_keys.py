"""Every key of every command does something: for each, two runs that differ in it alone, and what differs."""

import csv
import json
import re
from pathlib import Path

import mindspore as ms
import onnx
import onnxruntime
import pytest
from commands import HELD_OUT_DIGITS, TINY, contents, only, weights, write_cifar, write_pictures
from mindspore.train.mind_ir_pb2 import ModelProto

import eval as evaluation
import eval_onnx
import export
import train
from src.deploy.manifest import Manifest, manifest_path, write_manifest
from src.model_utils import device_adapter
from src.model_utils.options import COMMANDS, OPTIONS
from src.network.recompute import RecomputedBottleneck
from src.training import evaluation_report
from src.utils.checkpoint import METADATA_KEY, list_checkpoints, load_checkpoint
from src.utils.errors import ReportedError, UsageError, run

pytestmark = pytest.mark.slow

# Two epochs of one step each, unless flags say otherwise.
BASE = [*TINY, *["--max_epoch", "2", "--per_batch_size", "1000", "--log_interval", "1"]]
CONV0 = "backbone.features.conv0.weight"
LAYER = "backbone.features.denseblock1.cell_list.0."
TRANSITION = "backbone.features.transition1.features."
CHANGED = object()  # anything but what it was


class Result:
    """What a training run left, read when asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = (folder / "train.log").read_text()
        self.last = list_checkpoints(folder)[0]
        self.weights = weights(self.last)
        self.metrics = list(csv.DictReader((folder / "metrics.csv").open()))

    def rates(self) -> list[float]:
        return [round(float(row["learning_rate"]), 7) for row in self.metrics]

    def all_bits(self) -> dict[str, bytes]:
        return {name: value.tobytes() for name, value in self.weights.items()}

    def shape(self, name: str) -> tuple[int, ...]:
        return self.weights[name].shape

    def names(self, pattern: str) -> list[str]:
        return [name for name in self.weights if re.search(pattern, name)]

    def value(self, name: str) -> float | None:
        return self.weights[name].item() if name in self.weights else None

    def images(self) -> str:
        return re.search(r"on (\d+ images of \w+)", self.log)[1]

    def steps(self) -> int:
        return int(re.search(r"(\d+) steps an epoch", self.log)[1])

    def window_lines(self) -> int:
        return len(re.findall(r"imgs/sec, lr:", self.log))

    def checkpoints(self) -> list[str]:
        return [path.name for path in list_checkpoints(self.folder)]

    def evaluated_epochs(self) -> list[str]:
        return [row["epoch"] for row in self.metrics if row["top1"]]

    def log_says(self, text: str) -> bool:
        return text in self.log

    def head(self) -> bytes:
        return self.weights["head.fc.weight"].tobytes()

    def input_size(self) -> int:
        return load_checkpoint(self.last).metadata["preprocessing"]["image_size"]


# (key, flags of both runs, what differs, the method of Result that shows it and its arguments, what it then returns)
GROUPED = "--per_batch_size 500 --grad_accumulation_steps 2"
COSINE = "--lr_scheduler cosine_annealing"
ZOO_STEM = "--net densenet121"
PRETRAINED = "--train_pretrained {pretrained} --lr 1e-9"
TRAIN = [
    ("net", "", "--net densenet121", ("shape", CONV0), (8, 3, 7, 7)),
    ("dataset", "--dataset folder --train_data_dir {mixed} --per_batch_size 4", "--dataset cifar10", ("images",),
     "8 images of cifar10"),
    ("num_classes", "", "--num_classes 12", ("shape", "head.fc.bias"), (12,)),
    ("image_size", "", "--image_size 16", ("input_size",), 16),
    ("growth_rate", "", "--growth_rate 6", ("shape", LAYER + "conv2.weight"), (6, 24, 3, 3)),
    ("block_config", "", "--block_config 2,1", ("names", r"block1.cell_list.1.conv1"), CHANGED),
    ("stem_features", "", "--stem_features 10", ("shape", CONV0), (10, 3, 3, 3)),
    ("bn_size", "", "--bn_size 2", ("shape", LAYER + "conv1.weight"), (8, 8, 1, 1)),
    ("compression", "", "--compression 1", ("shape", TRANSITION + "conv.weight"), (12, 12, 1, 1)),
    ("drop_rate", "", "--drop_rate 0.5", ("names", r"^(?!moments).*block1.*random_state"), CHANGED),
    ("transition_pool", "", "--transition_pool max", ("all_bits",), CHANGED),
    ("stem_pool", ZOO_STEM, "--stem_pool same", ("all_bits",), CHANGED),
    ("train_data_dir", "--dataset cifar10 --per_batch_size 4 --train_data_dir {cifar}", "--train_data_dir {cifar6}",
     ("images",), "6 images of cifar10"),
    ("eval_data_dir", "", "--eval_data_dir bundled", ("evaluated_epochs",), ["1", "2"]),
    ("per_batch_size", "", "--per_batch_size 500", ("steps",), 2),
    ("augmentation", "", "--augmentation none", ("all_bits",), CHANGED),
    ("lr", "", "--lr 0.2", ("rates",), [0.2, 0.2]),
    ("lr_epochs", "", "--lr_epochs 1", ("rates",), [0.1, 0.01]),
    ("lr_gamma", "--lr_epochs 1", "--lr_gamma 0.5", ("rates",), [0.1, 0.05]),
    ("lr_scheduler", "", COSINE, ("rates",), [0.1, 0.05]),
    ("linear_lr_scaling", GROUPED, f"{GROUPED} --linear_lr_scaling", ("rates",), [0.2, 0.2]),
    ("eta_min", COSINE, "--eta_min 0.02", ("rates",), [0.1, 0.06]),
    ("T_max", COSINE, "--T_max 1", ("rates",), [0.1, 0.0]),
    ("warmup_epochs", "", "--warmup_epochs 2", ("rates",), [0.05, 0.1]),
    ("max_epoch", "", "--max_epoch 1", ("checkpoints",), ["0-1_1.ckpt"]),
    ("momentum", "", "--momentum 0.5", ("all_bits",), CHANGED),
    ("nesterov", "", "--nesterov", ("all_bits",), CHANGED),
    ("weight_decay", "", "--weight_decay 0.1", ("all_bits",), CHANGED),
    ("decay_norm_and_bias", "", "--decay_norm_and_bias false", ("all_bits",), CHANGED),
    ("label_smooth", "", "--label_smooth", ("all_bits",), CHANGED),
    ("label_smooth_factor", "--label_smooth", "--label_smooth_factor 0.3", ("all_bits",), CHANGED),
    ("grad_clip_norm", "", "--grad_clip_norm 0.01", ("all_bits",), CHANGED),
    ("grad_accumulation_steps", "--per_batch_size 500", "--grad_accumulation_steps 2", ("steps",), 1),
    ("amp_level", "", "--amp_level O2", ("value", "loss_scale"), 1024.0),  # and with it the type of `auto`
    ("loss_scale_type", "", "--loss_scale_type fixed", ("value", "loss_scale"), 1024.0),
    ("loss_scale", "--loss_scale_type fixed", "--loss_scale 64", ("value", "loss_scale"), 64.0),
    ("is_distributed", "", "--is_distributed 0", ("log_says", "running stand-alone: is_distributed is 0"), True),
    ("seed", "", "--seed 2", ("all_bits",), CHANGED),
    ("log_interval", "--per_batch_size 500", "--log_interval 2", ("window_lines",), 0),
    ("ckpt_interval", "--per_batch_size 500", "--ckpt_interval 1", ("checkpoints",),
     ["0-2_2.ckpt", "0-2_1.ckpt", "0-1_2.ckpt", "0-1_1.ckpt"]),
    ("keep_checkpoint_max", "", "--keep_checkpoint_max 1", ("checkpoints",), ["0-2_1.ckpt"]),
    ("eval_interval", "--eval_data_dir bundled", "--eval_interval 2", ("evaluated_epochs",), ["2"]),
    ("train_pretrained", "--lr 1e-9", "--train_pretrained {pretrained}", ("all_bits",), CHANGED),
    ("reset_head", PRETRAINED, "--reset_head", ("head",), CHANGED),
    ("config_path", "", "--config_path {yaml}", ("rates",), [0.3, 0.15]),
]  # fmt: skip

# The same for export.py; the method is one of Model.
ONNX = "--file_format ONNX"
CALIBRATED = f"{ONNX} --calibration_images 8"
INT8 = f"{CALIBRATED} --quantize"
CIFAR_INT8 = f"{INT8} --dataset cifar10 --train_data_dir {{cifar}} --eval_data_dir {{cifar}}"
EXPORT = [
    ("image_size", "", "--image_size 16", ("input_size",), 16),
    ("train_data_dir", CIFAR_INT8, "--train_data_dir {cifar6}", ("numbers",), CHANGED),
    ("eval_data_dir", CIFAR_INT8, "--eval_data_dir {cifar6}", ("measured_images",), 6),
    ("config_path", "", "--config_path {onnx_yaml}", ("name",), "model.onnx"),
    ("ckpt_file", ONNX, "--ckpt_file {pretrained}", ("numbers",), CHANGED),
    ("file_format", "", ONNX, ("name",), "model.onnx"),
    ("file_name", "", "--file_name {other}", ("name",), "other.mindir"),
    ("batch_size", "", "--batch_size 3", ("says", "batch_size"), 3),
    ("mindir_version", "", "--mindir_version 1", ("says", "mindir_version"), 1),
    ("mindir_version", "", "--mindir_version 1", ("version_in_the_file",), 1),
    ("export_fp16", ONNX, "--export_fp16", ("says", "precision"), "float16"),
    ("quantize", CALIBRATED, "--quantize", ("says", "precision"), "int8"),
    ("calibration_images", INT8, "--calibration_images 40", ("numbers",), CHANGED),
]

# Keys that a file without metadata needs, with the flags that make another network or input.
ZOO = {
    "net": "--net densenet121",
    "num_classes": "--num_classes 12",
    "image_size": "--image_size 16",
    "growth_rate": "--growth_rate 6",
    "block_config": "--block_config 2,1",
    "stem_features": "--stem_features 10",
    "bn_size": "--bn_size 2",
    "compression": "--compression 1",
    "transition_pool": "--transition_pool max",
    "stem_pool": "--stem_pool same",
}


@pytest.fixture(scope="module", autouse=True)
def no_pictures():
    """They take a third of the time of such small runs and no key concerns them."""
    with pytest.MonkeyPatch.context() as patch:
        for drawing in (
            "train.save_preview",
            "src.training.recorder.draw_curves",
            "src.training.evaluation_report.draw_confusion",
        ):
            patch.setattr(drawing, lambda *arguments: arguments[-1].touch())
        yield


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, str]:
    """What stands in braces in the table."""
    root = tmp_path_factory.mktemp("places")
    write_pictures(root / "mixed", ("one", "two"), each=3)
    write_cifar(root / "mixed" / "data_batch_1.bin", 8)
    write_cifar(root / "cifar" / "data_batch_1.bin", 8)
    write_cifar(root / "cifar6" / "data_batch_1.bin", 6)
    for name, count in (("cifar", 8), ("cifar6", 6)):
        write_cifar(root / name / "test_batch.bin", count)
    (root / "onnx.yaml").write_text("file_format: ONNX\n")
    (root / "lr.yaml").write_text("lr: 0.3\n")
    train.main([*BASE, "--seed", "7", "--save_ckpt_path", str(root / "run")])
    pretrained = only(root / "run") / "0-2_1.ckpt"
    return {
        "mixed": str(root / "mixed"),
        "cifar": str(root / "cifar"),
        "cifar6": str(root / "cifar6"),
        "yaml": str(root / "lr.yaml"),
        "onnx_yaml": str(root / "onnx.yaml"),
        "other": str(root / "other"),
        "pretrained": str(pretrained),
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory, places):
    """flags -> Result; each combination of flags is trained once."""
    done = {}

    def result(flags: str) -> Result:
        if flags not in done:
            output = tmp_path_factory.mktemp("run")
            train.main([*BASE, *flags.format(**places).split(), "--save_ckpt_path", str(output)])
            done[flags] = Result(only(output))
        return done[flags]

    return result


def assert_the_key_does_something(row: tuple, made) -> None:
    """Look at what `made(flags)` gives without the row's flag and with it."""
    _, common, flag, (method, *arguments), expected = row
    before, after = (getattr(made(flags), method)(*arguments) for flags in (common, f"{common} {flag}".strip()))
    assert before != after
    if expected is not CHANGED:
        assert after == expected


@pytest.mark.parametrize("row", TRAIN, ids=lambda row: row[0])
def test_train(row, trained):
    assert_the_key_does_something(row, trained)


def test_the_same_flags_give_the_same_weights(trained):
    """So a difference above comes from the key."""
    assert trained("").all_bits() == trained(" ").all_bits()


class Model:
    """What an export left."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.description = json.loads(manifest_path(path).read_text())

    def name(self) -> str:
        return self.path.name

    def numbers(self) -> list[bytes]:
        """Weights, and of INT8 the scales. Nodes are numbered through all exports of a process, so files differ."""
        return [onnx.numpy_helper.to_array(value).tobytes() for value in onnx.load(self.path).graph.initializer]

    def version_in_the_file(self) -> int:
        return ModelProto.FromString(self.path.read_bytes()).mind_ir_version

    def says(self, key: str) -> object:
        return self.description[key]

    def input_size(self) -> int:
        return self.description["preprocessing"]["image_size"]

    def measured_images(self) -> int:
        return self.description["verified"]["images"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory, places, trained):
    """flags -> Model; each combination of flags is exported once, from one checkpoint unless they name another."""
    done = {}

    def model(flags: str) -> Model:
        if flags not in done:
            name = tmp_path_factory.mktemp("model") / "model"
            argv = [f"--ckpt_file={trained('').last}", f"--file_name={name}", *flags.format(**places).split()]
            done[flags] = Model(export.main(argv))
        return done[flags]

    return model


@pytest.mark.parametrize("row", EXPORT, ids=lambda row: row[0])
def test_export(row, exported):
    assert_the_key_does_something(row, exported)


def test_the_same_flags_give_the_same_model(exported):
    """So a difference above comes from the key."""
    assert exported(CIFAR_INT8).numbers() == exported(CIFAR_INT8 + " ").numbers()


@pytest.fixture
def described(monkeypatch, tmp_path):
    """Runs export.py without the work, and returns the manifest and the threads that the work would have had."""

    def export_model(_, manifest: Manifest, path: Path, *, threads: int) -> Manifest:
        asked.append((manifest, threads))
        path.touch()
        write_manifest(manifest, path)
        return manifest

    asked = []
    monkeypatch.setattr(export, "export_model", export_model)

    def run_export(checkpoint: Path, *flags: str) -> tuple[Manifest, int]:
        name = tmp_path / str(len(asked))
        export.main(["--ckpt_file", str(checkpoint), "--file_name", str(name), *flags])
        return asked[-1]

    return run_export


@pytest.mark.parametrize("key", [*ZOO, "dataset"])
def test_export_of_a_file_without_metadata(key, trained, described, tmp_path):
    """With the flag, the network and input of the file that describes itself; without it, others or none."""
    common = ZOO_STEM if key == "stem_pool" else ""
    flag = ZOO.get(key, "--dataset digits")
    result = trained(f"{common} {ZOO.get(key, '')}".strip())
    own = described(result.last)[0]
    zoo = without_metadata(result.last, tmp_path / "zoo.ckpt")
    usual = [*TINY, *common.split()]
    given = described(zoo, *usual, *flag.split())[0]
    assert (given.architecture, given.preprocessing) == (own.architecture, own.preprocessing)
    assert given.class_names == tuple(f"class_{i}" for i in range(own.architecture.num_classes))
    other = {"num_classes": ["--num_classes", "3"], "dataset": ["--dataset", "cifar10"]}.get(key, [])
    try:
        without = described(zoo, *usual, *other)[0]
        assert (without.architecture, without.preprocessing) != (own.architecture, own.preprocessing)
    except ReportedError as error:
        assert "does not fit the network" in str(error)
        assert key not in ("image_size", "transition_pool", "stem_pool", "dataset")


def test_the_classes_of_a_file_without_metadata_are_counted(trained, described, tmp_path):
    zoo = without_metadata(trained("--num_classes 12").last, tmp_path / "zoo.ckpt")
    assert described(zoo, *TINY)[0].architecture.num_classes == 12


def test_export_refuses_another_network(trained, tmp_path):
    with pytest.raises(UsageError, match=r"bn_size is 3, but .* was made with 4; leave --bn_size out"):
        export.main(["--ckpt_file", str(trained("").last), "--bn_size", "3", "--file_name", str(tmp_path / "m")])


def test_export_workers_and_device(trained, described, monkeypatch):
    checkpoint = trained("").last
    assert described(checkpoint, "--num_parallel_workers", "1")[1] == 1
    with pytest.raises(UsageError, match="num_parallel_workers is 9999"):
        described(checkpoint, "--num_parallel_workers", "9999")
    with pytest.raises(ReportedError, match="device_target is Ascend"):
        described(checkpoint, "--device_target", "Ascend")
    asked = []
    monkeypatch.setattr(device_adapter.ms, "set_device", lambda *device: asked.append(device))
    described(checkpoint, "--device_id", "3")
    assert asked == [("CPU", 3)]


def test_export_reports_keys_that_it_does_not_use(trained, described, capsys):
    described(trained("").last, "--lr", "1", "--on_bad_image", "skip")
    out = capsys.readouterr().out
    assert "export.py does not use --lr" in out
    assert "export.py does not use --on_bad_image" in out


def predictions(model: Path, output: Path, *flags: str, main=evaluation.main) -> str:
    table = output / "predictions.csv"
    argv = [
        "--per_batch_size",
        "256",
        "--ckpt_files",
        str(model),
        "--predictions",
        str(table),
        "--save_ckpt_path",
        str(output / "out"),
    ]
    main([*argv, *flags])
    return table.read_text()


@pytest.fixture(scope="module")
def base_predictions(trained, tmp_path_factory) -> str:
    return predictions(trained("").last, tmp_path_factory.mktemp("base"))


def without_metadata(checkpoint: Path, target: Path) -> Path:
    """The same weights as a model zoo would give them."""
    loaded = ms.load_checkpoint(str(checkpoint))
    assert json.loads(loaded.pop(METADATA_KEY))
    ms.save_checkpoint([{"name": name, "data": value} for name, value in loaded.items()], str(target))
    return target


@pytest.mark.parametrize("key", ZOO)
def test_eval_of_a_file_without_metadata(key, trained, tmp_path):
    """With the flag, the answers of the file that describes itself; without it, others or none."""
    common = ZOO_STEM if key == "stem_pool" else ""
    result = trained(f"{common} {ZOO[key]}".strip())
    for name in ("described", "with", "without"):
        (tmp_path / name).mkdir()
    described = predictions(result.last, tmp_path / "described")
    zoo = without_metadata(result.last, tmp_path / "zoo.ckpt")
    usual = [*TINY, *common.split()]
    assert predictions(zoo, tmp_path / "with", *usual, *ZOO[key].split()) == described
    try:
        assert predictions(zoo, tmp_path / "without", *usual) != described
    except ReportedError as error:
        assert "does not fit the network" in str(error)
        assert key not in ("image_size", "transition_pool", "stem_pool")


def test_eval_refuses_another_network_and_follows_another_image_size(trained, base_predictions, tmp_path):
    with pytest.raises(UsageError, match=r"growth_rate is 6, but .* was made with 4; leave --growth_rate out"):
        predictions(trained("").last, tmp_path, "--growth_rate", "6")
    assert predictions(trained("").last, tmp_path, "--image_size", "16", "--lr", "1") != base_predictions
    logs = [path.read_text() for path in (tmp_path / "out").glob("*/eval.log")]
    assert any("eval.py does not use --lr" in log for log in logs)


@pytest.fixture(scope="module")
def evaluator(trained, exported):
    """command -> (its main, what it evaluates)."""
    commands = {"eval": (evaluation.main, trained("").last), "eval_onnx": (eval_onnx.main, exported(ONNX).path)}
    return commands.__getitem__


EVALUATORS = pytest.mark.parametrize("command", ["eval", "eval_onnx"])


@EVALUATORS
def test_dataset_and_eval_data_dir(command, evaluator, tmp_path):
    """Records of CIFAR-10's form instead of the digits, and then another folder of them."""
    main, model = evaluator(command)
    for name, count in (("six", 6), ("four", 4)):
        write_cifar(tmp_path / name / "test_batch.bin", count)
        (tmp_path / f"of {name}").mkdir()
        flags = ["--dataset", "cifar10", "--eval_data_dir", str(tmp_path / name)]
        table = predictions(model, tmp_path / f"of {name}", *flags, main=main)
        assert len(table.splitlines()) == 1 + count
    assert len(predictions(model, tmp_path, main=main).splitlines()) == 1 + HELD_OUT_DIGITS
    with pytest.raises(UsageError, match="found no eval_data_dir"):
        predictions(model, tmp_path, "--dataset", "cifar10", main=main)


@EVALUATORS
def test_per_batch_size_and_workers(command, evaluator, tmp_path, monkeypatch):
    asked = []
    main, model = evaluator(command)

    def batches(*arguments, **named):
        asked.append(named)
        return real(*arguments, **named)

    real = evaluation_report.evaluation_batches
    monkeypatch.setattr(evaluation_report, "evaluation_batches", batches)
    for name, flags in (("a", "--per_batch_size 7 --num_parallel_workers 1"), ("b", "--per_batch_size 50")):
        (tmp_path / name).mkdir()
        predictions(model, tmp_path / name, *flags.split(), main=main)
    assert [call["batch_size"] for call in asked] == [7, 50]
    assert asked[0]["workers"] == 1


def test_train_workers(tmp_path, monkeypatch):
    asked = []

    def batches(*arguments, **named):
        asked.append(named["workers"])
        return real(*arguments, **named)

    real = train.training_batches
    monkeypatch.setattr(train, "training_batches", batches)
    train.main([*BASE, "--num_parallel_workers", "1", "--max_epoch", "1", "--save_ckpt_path", str(tmp_path)])
    assert set(asked) == {1}
    with pytest.raises(UsageError, match="num_parallel_workers is 9999"):
        train.main([*BASE, "--num_parallel_workers", "9999", "--save_ckpt_path", str(tmp_path)])


def test_recompute(tmp_path, monkeypatch):
    """Its bottlenecks are others; that gradients stay the same is tested with the network."""
    built = []

    def network(*arguments, **named):
        built.append(real(*arguments, **named))
        return built[-1]

    real = train.DenseNet
    monkeypatch.setattr(train, "DenseNet", network)
    for name, flag in (("off", "false"), ("on", "true")):
        train.main([*BASE, "--recompute", flag, "--max_epoch", "1", "--save_ckpt_path", str(tmp_path / name)])
    counts = [sum(isinstance(cell, RecomputedBottleneck) for _, cell in net.cells_and_names()) for net in built]
    assert counts == [0, 2]


@pytest.mark.parametrize("command", ["train", "eval"])
def test_on_bad_image(command, tmp_path):
    pictures = write_pictures(tmp_path / "pictures", ("one", "two"), each=3)
    data = ["--dataset", "folder", "--save_ckpt_path", str(tmp_path / "out")]
    run_training = [*BASE, "--per_batch_size", "2", "--train_data_dir", str(pictures)]
    if command == "eval":
        train.main([*run_training, *data])
        checkpoint = str(only(tmp_path / "out") / "0-2_3.ckpt")
    (pictures / "two" / "1.jpg").write_text("not a picture")

    def go(how: str):
        if command == "train":
            return train.main([*run_training, *data, "--on_bad_image", how])
        return evaluation.main(
            ["--ckpt_files", checkpoint, "--eval_data_dir", str(pictures), "--on_bad_image", how, *data]
        )

    with pytest.raises(ReportedError, match=r"two/1\.jpg should be"):
        go("error")
    go("skip")
    assert list(tmp_path.glob(f"out/*/skipped_{command}_images.txt"))


def test_eval_onnx_on_bad_image(exported, tmp_path, capsys):
    """Of a data set, and of a user's own pictures."""
    pictures = write_pictures(tmp_path / "pictures", ("0", "1"), each=3)
    (pictures / "1" / "1.jpg").write_text("not a picture")
    argv = ["--ckpt_files", str(exported(ONNX).path), "--save_ckpt_path", str(tmp_path / "out")]
    data = ["--dataset", "folder", "--eval_data_dir", str(pictures)]
    for flags in (data, ["--images", str(pictures / "1")]):
        with pytest.raises(ReportedError, match=r"1/1\.jpg should be"):
            eval_onnx.main([*argv, *flags, "--on_bad_image", "error"])
    assert eval_onnx.main([*argv, *data, "--on_bad_image", "skip"]).seen == 5
    capsys.readouterr()
    eval_onnx.main([*argv, "--images", str(pictures / "1"), "--on_bad_image", "skip"])
    skipped, *answers = capsys.readouterr().out.splitlines()
    assert "WARNING:skipped: " in skipped
    assert [line.split(":")[0] for line in answers] == ["0.jpg", "2.jpg"]


@pytest.fixture
def command_line(trained, exported, tmp_path):
    """command -> (its main, flags that work), to which a test adds one."""
    commands = {
        "train": (train.main, [*BASE, "--max_epoch", "1"]),
        "eval": (evaluation.main, ["--ckpt_files", str(trained("").last)]),
        "export": (export.main, ["--ckpt_file", str(trained("").last), "--file_name", str(tmp_path / "model")]),
        "eval_onnx": (eval_onnx.main, ["--ckpt_files", str(exported(ONNX).path)]),
    }
    return lambda command: (commands[command][0], [*commands[command][1], "--save_ckpt_path", str(tmp_path / "out")])


@pytest.mark.parametrize("command", ["train", "eval"])
def test_device_rank_and_group(command, command_line, monkeypatch):
    main, flags = command_line(command)
    with pytest.raises(ReportedError, match="device_target is Ascend"):
        main([*flags, "--device_target", "Ascend"])
    with pytest.raises(UsageError, match="rank 0 of group_size 2 was asked for"):
        main([*flags, "--group_size", "2"])
    with pytest.raises(UsageError, match="rank 1 of group_size 2 was asked for"):
        main([*flags, "--group_size", "2", "--rank", "1"])
    asked = []
    monkeypatch.setattr(device_adapter.ms, "set_device", lambda *device: asked.append(device))
    main([*flags, "--device_id", "3"])
    assert asked == [("CPU", 3)]


def test_eval_onnx_device(command_line, monkeypatch):
    """The asked-for device or an error, never another one; device_id chooses among the GPUs."""
    main, flags = command_line("eval_onnx")
    with pytest.raises(UsageError, match="found device_target Ascend, expected CPU or GPU"):
        main([*flags, "--device_target", "Ascend"])
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    asked = []

    def session(path, options, providers):
        asked.append(providers)
        return real(path, options, providers=["CPUExecutionProvider"])

    real = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    for device in ([], ["--device_target", "GPU", "--device_id", "3"]):
        with pytest.raises(ReportedError, match="could not start CUDAExecutionProvider and would have used the CPU"):
            main([*flags, *device])
    assert asked == [[("CUDAExecutionProvider", {"device_id": number})] for number in ("0", "3")]


def test_eval_onnx_refuses_another_net(command_line):
    main, flags = command_line("eval_onnx")
    main([*flags, "--net", "densenet100"])
    with pytest.raises(UsageError, match=r"net is densenet121, but .*model\.onnx is a densenet100; leave --net out"):
        main([*flags, "--net", "densenet121"])


def test_eval_onnx_images(command_line, tmp_path, capsys):
    main, flags = command_line("eval_onnx")
    pictures = write_pictures(tmp_path / "pictures", ("one",), each=2)
    capsys.readouterr()
    for path, count in ((pictures / "one", 2), (pictures / "one" / "1.jpg", 1)):
        assert main([*flags, "--images", str(path)]) is None
        assert capsys.readouterr().out.count(".jpg: ") == count
    assert not (tmp_path / "out").exists()
    assert main(flags).seen == HELD_OUT_DIGITS


def test_deterministic(command_line, monkeypatch):
    asked = []
    monkeypatch.setattr(device_adapter, "_set_deterministic", asked.append)
    main, flags = command_line("train")
    for value in ("true", "false"):
        main([*flags, "--deterministic", value])
    assert asked == [True, False]


@pytest.mark.parametrize("command", ["train", "eval", "eval_onnx"])
def test_save_ckpt_path(command, command_line, tmp_path, monkeypatch):
    main, flags = command_line(command)
    monkeypatch.chdir(tmp_path)
    main(flags)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    main([*flags, "--save_ckpt_path", "elsewhere"])
    assert contents(tmp_path / "elsewhere")


@pytest.mark.parametrize("command", COMMANDS)
def test_debug(command, command_line, capsys):
    main, flags = command_line(command)
    for debug in ("false", "true"):
        assert run(main, [*flags, "--device_target", "GPU", "--debug", debug]) == 1
        assert ("Traceback" in capsys.readouterr().err) == (debug == "true")


def test_eval_is_distributed(command_line, tmp_path):
    main, flags = command_line("eval")
    main([*flags, "--is_distributed", "0"])
    assert "running stand-alone: is_distributed is 0" in (only(tmp_path / "out") / "eval.log").read_text()


@EVALUATORS
def test_eval_config_path(command, command_line, tmp_path):
    main, flags = command_line(command)
    (tmp_path / "other.yaml").write_text(f"predictions: {tmp_path / 'from_yaml.csv'}\n")
    main([*flags, "--config_path", str(tmp_path / "other.yaml")])
    assert (tmp_path / "from_yaml.csv").is_file()


def test_eval_ckpt_files_and_predictions(trained, base_predictions, tmp_path):
    """Another file gives other answers; the answers are written only when asked for."""
    assert predictions(trained("--seed 2").last, tmp_path) != base_predictions
    evaluation.main(["--ckpt_files", str(trained("").last), "--save_ckpt_path", str(tmp_path / "quiet")])
    assert not list((tmp_path / "quiet").glob("**/predictions*"))


def test_eval_onnx_ckpt_files_and_predictions(exported, tmp_path):
    """Another model gives other answers."""
    answers = []
    for name, flags in (("one", ONNX), ("other", f"{ONNX} --ckpt_file {{pretrained}}")):
        (tmp_path / name).mkdir()
        answers.append(predictions(exported(flags).path, tmp_path / name, main=eval_onnx.main))
    assert answers[0] != answers[1]
    quiet = ["--ckpt_files", str(exported(ONNX).path), "--save_ckpt_path", str(tmp_path / "quiet")]
    eval_onnx.main(quiet)
    assert not list((tmp_path / "quiet").glob("**/predictions*"))


def test_resume(trained, tmp_path):
    """It goes on from the position and does not begin anew."""
    (tmp_path / "0-1_1.ckpt").write_bytes((trained("").folder / "0-1_1.ckpt").read_bytes())
    train.main(["--resume", str(tmp_path / "0-1_1.ckpt"), "--save_ckpt_path", str(tmp_path / "out")])
    resumed = Result(only(tmp_path / "out"))
    assert resumed.checkpoints() == ["0-2_1.ckpt"]
    assert resumed.all_bits() == trained("").all_bits()


# What the tests above, apart from the two tables, cover.
OTHERS = {
    "train": "recompute on_bad_image num_parallel_workers device_target device_id rank group_size deterministic "
    "save_ckpt_path debug resume",
    "eval": "dataset eval_data_dir per_batch_size num_parallel_workers on_bad_image device_target device_id rank "
    "group_size save_ckpt_path debug is_distributed config_path ckpt_files predictions",
    "export": "dataset num_parallel_workers device_target device_id debug",
    "eval_onnx": "net dataset eval_data_dir per_batch_size on_bad_image num_parallel_workers device_target device_id "
    "save_ckpt_path config_path debug ckpt_files predictions images",
}
# tests/test_distributed.py: they need a second rank
IN_OTHER_FILES = {"train": "is_save_on_master sync_bn_stats sync_batch_norm"}
# tests/test_modelarts.py, and one by one tests/model_utils/test_moxing_adapter.py
MODELARTS = {option.name for option in OPTIONS if option.group == "modelarts"}


def test_every_key_is_covered():
    covered = {
        "train": {row[0] for row in TRAIN} | {*OTHERS["train"].split(), *IN_OTHER_FILES["train"].split()} | MODELARTS,
        "eval": set(ZOO) | set(OTHERS["eval"].split()) | MODELARTS,
        "export": {row[0] for row in EXPORT} | set(ZOO) | set(OTHERS["export"].split()) | MODELARTS,
        "eval_onnx": set(OTHERS["eval_onnx"].split()),
    }
    assert set(covered) == set(COMMANDS)
    for command, keys in covered.items():
        assert keys == {option.name for option in OPTIONS if command in option.commands}
