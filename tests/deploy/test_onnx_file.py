"""ONNX files: every export is one that any reader takes, and of files from elsewhere no other gets to ONNX Runtime."""

import json

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from fuzz.onnx_models import Trial, mutated
from onnx import TensorProto, helper, numpy_helper

from src.datasets.class_names import unnamed_classes
from src.datasets.preprocessing import default_preprocessing
from src.deploy.export import write_onnx
from src.deploy.manifest import Manifest
from src.deploy.onnx_file import METADATA_KEY, read_onnx, seal
from src.deploy.onnx_rules import OPERATORS, ForeignModelError, check_tensor
from src.deploy.quantize import write_int8
from src.network.architecture import architecture
from src.network.densenet import DenseNet
from src.training.evaluation import PredictStep
from src.utils.errors import ReportedError

pytestmark = pytest.mark.slow

SIZE, CLASSES = 32, 5
TINY = {"growth_rate": 4, "stem_features": 8}
# What decides which operators there are; the named networks differ in sizes only.
NETWORKS = {
    "pad": architecture("densenet121", CLASSES, block_config=(1, 1), **TINY),
    "max": architecture("densenet121", CLASSES, block_config=(1, 1), transition_pool="max", stem_pool="same", **TINY),
    "3x3": architecture("densenet100", CLASSES, block_config=(1, 1), **TINY),
}
PRECISIONS = ("float32", "float16", "int8")
ALL = [(network, precision) for network in NETWORKS for precision in PRECISIONS]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """(network, precision) -> a file of it, with random weights."""
    folder, images = tmp_path_factory.mktemp("models"), pictures(8)
    made = {}
    for name, arch in NETWORKS.items():
        for precision in PRECISIONS:
            path = made[name, precision] = folder / f"{name}_{precision}.onnx"
            preprocessing = default_preprocessing("folder", SIZE)
            manifest = Manifest("ONNX", precision, 0, "folder", arch, preprocessing, unnamed_classes(CLASSES))
            if precision == "int8":
                write_int8(made[name, "float32"], manifest, path, [(images,)])
            else:
                write_onnx(PredictStep(DenseNet(arch)), manifest, path)
    return made


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, 3, SIZE, SIZE), np.float32)


def test_the_list_of_operators_is_what_the_exports_hold(models):
    assert {node.op_type for path in models.values() for node in onnx.load(path).graph.node} == set(OPERATORS)


@pytest.mark.parametrize("which", ALL)
def test_exports_pass_the_strictest_checks(which, models):
    model = onnx.load(models[which])
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    assert [imported.domain for imported in model.opset_import] == [""]
    assert read_onnx(models[which])[1].precision == which[1]


@pytest.mark.parametrize("which", ALL)
def test_opencv_reads_the_exports_and_answers_the_same(which, models):
    """A reader that shares no code with ONNX Runtime. Of INT8 it takes one image at a time only (4.11)."""
    images = pictures(6)
    expected = onnxruntime.InferenceSession(models[which]).run(None, {"images": images})[0]
    network = cv2.dnn.readNetFromONNX(str(models[which]))
    size = 1 if which[1] == "int8" else 3
    found = []
    for start in range(0, len(images), size):
        network.setInput(images[start : start + size])
        found.append(network.forward().copy())
    difference = np.abs(np.concatenate(found) - expected).max() / np.abs(expected).max()
    assert np.ptp(expected, axis=0).max() > 0.01 * np.abs(expected).max()
    assert difference < {"float32": 1e-4, "float16": 1e-2, "int8": 5e-2}[which[1]]


def _first(model: onnx.ModelProto, operator: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == operator)


def _array(model: onnx.ModelProto) -> TensorProto:
    return next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 4)


def _variances(model: onnx.ModelProto) -> TensorProto:
    name = _first(model, "BatchNormalization").input[4]
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def _spoil(tensor: TensorProto, place: int, value: float) -> None:
    values = numpy_helper.to_array(tensor).copy()
    values.reshape(-1)[place] = value
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _behind_input(*nodes: onnx.NodeProto):
    """Put `nodes`, the last of which makes "added", between the input and the first convolution."""

    def change(model):
        _first(model, "Conv").input[0] = "added"
        for at, node in enumerate(nodes):
            model.graph.node.insert(at, node)

    return change


def _attribute(operator: str, name: str, value):
    def change(model):
        node = _first(model, operator)
        kept = [attribute for attribute in node.attribute if attribute.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(name, value)])

    return change


def _doubling(model):
    _behind_input(
        helper.make_node("Concat", ["images", "images"], ["x0"], axis=2),
        *(helper.make_node("Concat", [f"x{i}", f"x{i}"], [f"x{i + 1}"], axis=2) for i in range(20)),
        helper.make_node("AveragePool", ["x20"], ["added"], kernel_shape=[2, 1], strides=[2, 1]),
    )(model)


LOOP = helper.make_graph([helper.make_node("Identity", ["c"], ["d"])], "body", [], [])
HUGE = helper.make_node("Constant", [], ["n"], value=helper.make_tensor("n", TensorProto.INT64, [1], [10**12]))
FOREIGN = {
    "constant_of_shape": (
        _behind_input(HUGE, helper.make_node("ConstantOfShape", ["n"], ["added"])),
        "the operator 'ConstantOfShape'",
    ),
    "range": (_behind_input(helper.make_node("Range", ["images", "images", "images"], ["added"])), "operator 'Range'"),
    "loop": (_behind_input(helper.make_node("Loop", ["", "", "images"], ["added"], body=LOOP)), "the operator 'Loop'"),
    "subgraph": (_attribute("Conv", "body", LOOP), "the operator 'Conv' with the attribute 'body'"),
    "domain": (lambda model: setattr(model.graph.node[0], "domain", "com.microsoft"), "of 'com.microsoft'"),
    "function": (lambda model: model.functions.add(name="f", domain="d"), "the model with functions"),
    "training": (lambda model: model.training_info.add(), "the model with training_info"),
    "sparse": (lambda model: model.graph.sparse_initializer.add(), "the graph with sparse_initializer"),
    "elsewhere": (lambda model: _array(model).external_data.add(key="location", value="x"), "with external_data"),
    "longer": (lambda model: setattr(_array(model), "raw_data", _array(model).raw_data + b"1234"), "raw_data that its"),
    "shorter": (lambda model: setattr(_array(model), "raw_data", _array(model).raw_data[4:]), "that its dims ask for"),
    "negative": (lambda model: _array(model).dims.__setitem__(0, -8), "and dims [-8, 3"),
    "huge": (lambda model: _array(model).dims.__setitem__(0, 2**40), "and dims [1099511627776, 3"),
    "not finite": (lambda model: _spoil(_array(model), 0, np.nan), "with values that are not finite"),
    "infinite": (lambda model: _spoil(_array(model), -1, np.inf), "with values that are not finite"),
    "variances": (lambda model: _spoil(_variances(model), 0, -1), "negative variances in the array"),
    "strings": (lambda model: setattr(_array(model), "data_type", TensorProto.STRING), "of type 8 and dims"),
    "twice": (lambda model: _array(model).float_data.append(1), "with its values in raw_data and float_data"),
    "stride": (_attribute("Conv", "strides", [0, 0]), "'Conv' with strides [0, 0]"),
    "pads": (_attribute("Conv", "pads", [10**9] * 4), "'Conv' with pads [1000000000"),
    "group": (_attribute("Conv", "group", 0), "'Conv' with group 0"),
    "epsilon": (_attribute("BatchNormalization", "epsilon", float("nan")), "with epsilon nan"),
    "doubling": (_doubling, "values in its results for one image, more than a densenet121 has"),
    "unsorted": (lambda model: model.graph.node.append(model.graph.node.pop(0)), "a graph that contradicts itself"),
    "missing": (lambda model: _first(model, "Conv").input.__setitem__(0, "none"), "a graph that contradicts itself"),
    "many": (lambda model: [model.graph.node.add(op_type="Relu") for _ in range(400)], "operators, more than"),
    "words": (lambda model: setattr(model.graph, "doc_string", "x" * 10**6), "bytes of values and"),
    "empty": (lambda model: [model.graph.value_info.add() for _ in range(10**5)], "100,000 shapes, more"),
    "opset": (lambda model: setattr(model.opset_import[0], "version", 18), "version 18 of ONNX's operators"),
}  # fmt: skip


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_export_does_not_write_is_refused(kind, models, tmp_path):
    """Though its checksum is right."""
    change, message = FOREIGN[kind]
    model = onnx.load(models["pad", "float32"])
    text = model.metadata_props[0].value
    change(model)
    seal(model, text)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ReportedError) as raised:
        read_onnx(tmp_path / "model.onnx")
    start = "model.onnx cannot be loaded by ONNX Runtime: it is no ONNX model, or not as export.py writes it: it holds "
    assert start in str(raised.value) and message in str(raised.value)
    assert str(raised.value).endswith("; export it again")


def test_a_file_without_checksum_is_taken(models, tmp_path):
    """As exports of earlier versions, whose INT8 files import domains that they do not use."""
    model = onnx.load(models["pad", "int8"])
    helper.set_model_props(model, {METADATA_KEY: model.metadata_props[0].value})
    model.opset_import.extend([helper.make_opsetid("com.microsoft", 1)])
    onnx.save(model, tmp_path / "model.onnx")
    assert read_onnx(tmp_path / "model.onnx")[1].precision == "int8"


@pytest.mark.parametrize("of", ["weights", "description"])
def test_a_change_is_noticed(of, models, tmp_path):
    model = onnx.load(models["pad", "float32"])
    if of == "weights":
        _array(model).raw_data = bytes(len(_array(model).raw_data))
    else:
        described = json.loads(model.metadata_props[0].value)
        described["class_names"].reverse()
        model.metadata_props[0].value = json.dumps(described)
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(
        ReportedError, match=r"model\.onnx is damaged or was changed since export\.py wrote it: its dens"
    ):
        read_onnx(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("kind", "stored"),
    [(TensorProto.FLOAT, {"float_data": [1, 2]}), (TensorProto.INT8, {"int32_data": [1, 2]}),
     (TensorProto.INT64, {"int64_data": [1, 2]}), (TensorProto.FLOAT16, {"raw_data": bytes(4)})],
)  # fmt: skip
def test_values_are_counted_wherever_they_are(kind, stored):
    check_tensor(TensorProto(name="a", dims=[2], data_type=kind, **stored))
    with pytest.raises(ForeignModelError, match=r"with (2 of the 3|4 of the 6)"):
        check_tensor(TensorProto(name="a", dims=[3], data_type=kind, **stored))


def test_mutated_files(models, tmp_path):
    """A few of `tests/fuzz/onnx_models.py`, each in a process of its own."""
    trial = Trial(tmp_path, models["pad", "float32"])
    assert trial.problem(trial.good, sealed=False) == ""
    for seed in range(15):
        name, data, resealed = mutated(trial.good, seed)
        assert trial.problem(data, resealed) == "", (seed, name)
