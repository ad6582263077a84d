"""Every operator that may be in a MindIR of version 1 gives MindSpore's numbers in MindSpore Lite 2.0.0."""

import subprocess
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops
from mindspore.train.mind_ir_pb2 import ModelProto

from src.datasets.classification import evaluation_batches
from src.datasets.preprocessing import Preprocessing
from src.datasets.sources import open_source
from src.deploy.mindir_v1 import _FUNCTIONS, _UNCHANGED, downgrade
from src.network.densenet import DenseNet, architecture
from src.training.evaluation import PredictStep
from src.utils.errors import ReportedError

pytestmark = pytest.mark.slow

COUNT, CLASSES = 5, 7
# An odd size: what a pool leaves over at the border differs between the paddings.
PREPROCESSING = Preprocessing(37, 0, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
VARIANTS = {
    "paper": {"net": "densenet121"},
    "zoo": {"net": "densenet121", "transition_pool": "max", "stem_pool": "same"},
    "cifar": {"net": "densenet100"},
    "half": {"net": "densenet121"},
}


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> Path:
    """CIFAR-10 records of random pixels: how the program takes numbers that a test chooses."""
    file = tmp_path_factory.mktemp("records") / "test_batch.bin"
    data = np.random.default_rng(0).integers(0, 256, (COUNT, 3073), np.uint8)
    data[:, 0] = 0
    file.write_bytes(data.tobytes())
    return file


@pytest.fixture(scope="module")
def images(records) -> np.ndarray:
    """The same as the network's input, (COUNT, 3, 37, 37)."""
    source = open_source("cifar10", records.parent, split="eval")
    ((batch, _, _),) = evaluation_batches(source, PREPROCESSING, batch_size=COUNT, workers=1)
    return batch


@pytest.fixture(scope="module")
def models(images, tmp_path_factory):
    """name -> (folder with static.mindir and dynamic.mindir, version 3; the network's logits for `images`)."""
    made = {}

    def model(name: str) -> tuple[Path, np.ndarray]:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            fields = {"growth_rate": 4, "block_config": (2, 3), "stem_features": 8} | VARIANTS[name]
            network = DenseNet(architecture(num_classes=CLASSES, **fields))
            randomise(network)
            if name == "half":
                network.to_float(ms.float16)
            step = PredictStep(network)
            logits = step(Tensor(images)).asnumpy()
            batches = {"static": Tensor(images[:2]), "dynamic": Tensor(shape=[None, 3, 37, 37], dtype=ms.float32)}
            for kind, example in batches.items():
                ms.export(step, example, file_name=str(folder / kind), file_format="MINDIR")
            made[name] = folder, logits
        return made[name]

    return model


def randomise(network: nn.Cell) -> None:
    """No weight or statistic that would hide that it is not used."""
    random = np.random.default_rng(1)
    for parameter in network.get_parameters():
        shape, is_scale = parameter.shape, parameter.name.endswith(("gamma", "variance"))
        if len(shape) == 1:
            values = random.uniform(0.5, 1.5, shape) if is_scale else random.normal(0, 0.3, shape)
            parameter.set_data(Tensor(values.astype(np.float32)))


def infer(program: Path, model: Path, records: Path, folder: Path, *flags: str) -> np.ndarray:
    """The program's logits for all records."""
    outputs = [f"--output_dir={folder / 'out'}", f"--time_dir={folder / 'time'}"]
    data = [f"--model_path={model}", "--dataset=cifar10", f"--dataset_path={records}", "--device_target=CPU"]
    size = ["--image_size=37", "--resize=0", "--mean=0.5,0.5,0.5", "--std=0.25,0.25,0.25"]
    done = subprocess.run([program, *data, *size, *outputs, *flags], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    files = sorted((folder / "out").iterdir())
    return np.stack([np.fromfile(file, np.float32) for file in files])


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("kind, flags", [("static", []), ("dynamic", ["--batch_size=3"])])
def test_lite_gives_the_networks_logits(name, kind, flags, models, records, infer_program, tmp_path):
    folder, expected = models(name)
    model = tmp_path / "old.mindir"
    downgrade(folder / f"{kind}.mindir", model)
    found = infer(infer_program, model, records, tmp_path, *flags)
    assert found.shape == (COUNT, CLASSES)
    assert expected.std(0).min() > 0.003  # the images are told apart
    difference = np.abs(found - expected).max() / np.abs(expected).max()
    assert difference < (2e-3 if name == "half" else 1e-5)


@pytest.mark.slow
def test_lite_cannot_read_the_file_as_it_was(models, records, infer_program, tmp_path):
    folder, _ = models("cifar")
    with pytest.raises(AssertionError, match="cannot load"):
        infer(infer_program, folder / "static.mindir", records, tmp_path)


@pytest.mark.slow
def test_the_white_list_holds_nothing_that_is_not_run_here(models):
    used = set()
    for name in VARIANTS:
        for file in models(name)[0].glob("*.mindir"):
            used |= {primitive.op_type for primitive in ModelProto.FromString(file.read_bytes()).primitives}
    assert used == _UNCHANGED | _FUNCTIONS.keys()


class _Small(nn.Cell):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def construct(self, x):
        return self.function(x)


def write_small(folder: Path, cell: nn.Cell) -> Path:
    ms.export(cell, Tensor(np.zeros((1, 3, 8, 8), np.float32)), file_name=str(folder / "small"), file_format="MINDIR")
    return folder / "small.mindir"


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """A version 3 file that can be rewritten."""
    return write_small(tmp_path_factory.mktemp("small"), nn.SequentialCell(nn.BatchNorm2d(3), nn.AvgPool2d(2, 2)))


def test_the_rewritten_file_has_the_old_form(small, tmp_path):
    model = tmp_path / "same.mindir"
    model.write_bytes(small.read_bytes())
    downgrade(model, model)
    rewritten = ModelProto.FromString(model.read_bytes())
    assert (rewritten.mind_ir_version, rewritten.ir_version) == (1, "0.1.1")
    pool, norm = (next(p for p in rewritten.primitives if p.op_type == name) for name in ("AvgPool", "BatchNorm"))
    attributes = {attribute.name: attribute for attribute in (*pool.attribute, *norm.attribute)}
    assert [value.ints[0] for value in attributes["kernel_size"].values] == [1, 1, 2, 2]
    assert attributes["pad_mode"].s == b"VALID"
    assert attributes["epsilon"].f == pytest.approx(1e-5)
    assert len({primitive.name for primitive in rewritten.primitives}) == len(rewritten.primitives)
    # The only constants left are inputs of nodes.
    used = {name for node in rewritten.graph.node for name in node.input}
    assert all(node.output[0] in used for node in rewritten.graph.node if node.op_type == "Constant")


@pytest.mark.parametrize(
    "cell, found",
    [
        (lambda: _Small(ops.sigmoid), "the operator 'Sigmoid'"),
        (lambda: nn.ConstantPad2d(1, 0.0), "the operator 'PadV3'"),
        (lambda: nn.AdaptiveAvgPool2d(1), "the operator 'AdaptiveAvgPool2D'"),
        (lambda: nn.BatchNorm2d(3, use_batch_statistics=True), "a BatchNorm in training mode"),
    ],
)
def test_any_other_operator_is_named(cell, found, tmp_path):
    model, target = write_small(tmp_path, cell()), tmp_path / "old.mindir"
    with pytest.raises(ReportedError) as caught:
        downgrade(model, target)
    assert str(caught.value) == (
        f"{model} holds {found}, which MindSpore Lite 2.0.0 is not known to run right; "
        "export it as version 3 for a newer Lite"
    )
    assert not target.exists()


def node_of(model: ModelProto, operator: str):
    return next(node for node in model.graph.node if operator in node.op_type)


def changed(change):
    """The bytes of a model after `change`."""

    def change_bytes(data: bytes) -> bytes:
        model = ModelProto.FromString(data)
        change(model)
        return model.SerializeToString()

    return change_bytes


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda _: b"", "is no MindIR file, or is damaged"),
        (lambda _: b"no model\n", "is no MindIR file, or is damaged"),
        (lambda data: data[:-10], "is no MindIR file, or is damaged"),
        (changed(lambda m: setattr(m, "mind_ir_version", 1)), "is a MindIR file of version 1, expected version 3"),
        (changed(lambda m: setattr(m, "mind_ir_version", 4)), "is a MindIR file of version 4, expected version 3"),
        (changed(lambda m: m.functions.add()), "holds control flow, which only version 3 can express"),
        (changed(lambda m: m.primitives.pop()), "is damaged: its graph contradicts itself"),
        (changed(lambda m: node_of(m, "AvgPool").input.pop()), "is damaged: its graph contradicts itself"),
    ],
)
def test_what_is_no_model_is_reported_and_leaves_the_target_alone(change, message, small, tmp_path):
    source, target = tmp_path / "model.mindir", tmp_path / "old.mindir"
    source.write_bytes(change(small.read_bytes()))
    target.write_bytes(b"before")
    with pytest.raises(ReportedError) as caught:
        downgrade(source, target)
    assert str(caught.value).startswith(f"{source} {message}")
    assert target.read_bytes() == b"before"


def test_a_missing_file_and_a_folder_are_reported(tmp_path):
    for path, found in ((tmp_path / "none.mindir", "does not exist"), (tmp_path, "is a folder")):
        with pytest.raises(ReportedError) as caught:
            downgrade(path, tmp_path / "old.mindir")
        assert str(caught.value) == f"model {path} {found}; give a .mindir file that export.py wrote"


def test_damaged_bytes_never_escape_as_another_error(small, tmp_path):
    random = np.random.default_rng(0)
    data, file = small.read_bytes(), tmp_path / "model.mindir"
    reported = 0
    for _ in range(300):
        damaged = np.frombuffer(data, np.uint8).copy()
        damaged[random.integers(0, len(data), 3)] = random.integers(0, 256, 3)
        file.write_bytes(damaged.tobytes())
        try:
            downgrade(file, tmp_path / "old.mindir")
        except ReportedError:
            reported += 1
    assert reported > 100
