"""INT8 in the CPU engine: what export.py makes of weights, and what the engine makes of its files."""

import os
from dataclasses import replace

import numpy as np
import pytest
from int8_reference import logits_of
from safetensors.numpy import load
from test_engine import SMALL, changed_header, changed_manifest, described, random_network, written

from src.deploy.engine_file import folded, write_engine_file
from src.deploy.engine_int8 import LEVELS, MOST_TOGETHER, Inputs, convolution_of
from src.deploy.engine_model import EngineModel
from src.deploy.export import workshop, write_onnx
from src.deploy.onnx_inputs import measured_inputs
from src.training.evaluation import PredictStep
from src.utils.errors import ReportedError

NETWORKS = {
    "small": ({**SMALL}, 9),
    "wide": ({"growth_rate": 16, "block_config": (2, 2), "stem_features": 40, "compression": 0.7}, 12),
}


def inputs_of(seen):
    """As onnx_inputs.py measures them."""
    over = (0, 2, 3)
    return {
        name: Inputs(x.max(over), x.mean(over, np.float64), np.square(x, dtype=np.float64).mean(over))
        for name, x in seen.items()
    }


def made_int8(fields, image_size, folder):
    """A network, images (5, 3, S, S), the tensors of its float32 and INT8 files, and the latter's path."""
    network = random_network(**fields)
    arch = network.architecture
    images = np.random.default_rng(1).standard_normal((5, 3, image_size, image_size)).astype(np.float32)
    arrays = {one.name: one.asnumpy() for one in network.get_parameters()}
    exact, seen = folded(arrays, arch), {}
    logits_of(exact, images, arch.block_config, seen)
    path = folder / "model.engine"
    write_engine_file(arrays, replace(described(network, image_size), precision="int8"), path, inputs_of(seen))
    return network, images, exact, load(path.read_bytes()), path


@pytest.fixture(scope="module", params=NETWORKS)
def int8(request, tmp_path_factory):
    return made_int8(*NETWORKS[request.param], tmp_path_factory.mktemp(request.param))


def fours(integers):
    """Sums of the positive and of the negative ones of each four that the products add up in 16 bits."""
    whole = -integers.shape[1] % 8
    padded = np.pad(integers.astype(int), ((0, 0), (0, whole), (0, 0), (0, 0)))
    places = [padded[:, i::8] for i in range(8)]
    for four in ((0, 1, 4, 5), (2, 3, 6, 7)):
        for sign in (1, -1):
            yield sum(np.maximum(sign * places[i], 0) for i in four)


@pytest.mark.parametrize("shape", [(7, 21, 1, 1), (5, 16, 3, 3)])
@pytest.mark.parametrize("kind", ["normal", "heavy tails", "one sign", "dead channels"])
def test_weights_fit_into_sums_of_16_bits_and_lose_little(shape, kind):
    random = np.random.default_rng(0)
    weights = random.standard_normal(shape)
    x = np.maximum(random.standard_normal((4000, shape[1])) * np.exp(random.normal(0, 1, shape[1])), 0)
    if kind == "heavy tails":
        weights = random.standard_t(3, shape)
    elif kind == "one sign":
        weights = np.full(shape, 0.3)
    elif kind == "dead channels":
        x[:, ::3], weights[1], weights[:, 4] = 0, 0, 0
    found = convolution_of(weights, Inputs(x.max(0), x.mean(0), (x**2).mean(0)))
    assert found.integers.dtype == np.int8
    assert max(sums.max() for sums in fours(found.integers)) <= MOST_TOGETHER
    integers = np.rint(x / found.steps)
    assert integers.max() == LEVELS
    expected = np.einsum("nc,ochw->nohw", x, weights)
    outputs = np.einsum("nc,ochw->nohw", integers, found.integers * found.scales[:, None, None, None])
    outputs = outputs + found.shift[:, None, None] / (shape[2] * shape[3])
    assert np.sqrt(np.mean((outputs - expected) ** 2) / np.mean(expected**2)) < 0.02
    assert np.abs((outputs - expected).sum((2, 3)).mean(0)).max() < 1e-3 * np.abs(expected).max()


@pytest.mark.slow
def test_the_engine_computes_what_the_file_says(int8):
    network, images, exact, tensors, path = int8
    blocks = network.architecture.block_config
    assert {value.dtype for name, value in tensors.items() if ".conv" in name and name.endswith("weight")} == {
        np.dtype(np.float32), np.dtype(np.int8)
    }  # fmt: skip
    assert tensors["backbone.features.conv0.weight"].dtype == np.float32
    expected, found = logits_of(tensors, images, blocks), EngineModel(path)(images)
    largest = np.abs(expected).max()
    assert np.abs(found - expected).max() < 1e-3 * largest  # a tie may be rounded the other way
    assert 1e-4 * largest < np.abs(found - logits_of(exact, images, blocks)).max() < 0.1 * largest


@pytest.mark.slow
def test_the_same_bits_for_any_number_of_threads_and_images(int8):
    model, images = EngineModel(int8[4], keeps_features=True), int8[1]
    logits, heat = model.heat(images)
    cores = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(cores)})
        alone = model(images)
    finally:
        os.sched_setaffinity(0, cores)
    np.testing.assert_array_equal(alone, logits)
    many = model(np.concatenate([images] * 8))
    np.testing.assert_array_equal(many, np.concatenate([logits] * 8))
    np.testing.assert_array_equal(model(images[3:4]), logits[3:4])
    assert heat.shape[0] == len(images) and heat.max() > 0


@pytest.mark.slow
def test_what_is_measured_in_onnx_runtime(int8):
    network, images, exact, _, _ = int8
    manifest = replace(described(network, images.shape[2]), file_format="ONNX")
    with workshop() as folder:
        write_onnx(PredictStep(network), manifest, folder / "model.onnx")
        found = measured_inputs(folder / "model.onnx", [(images[:2],), (images[2:],)], 1)
        with pytest.raises(ReportedError, match="there is no image to measure"):
            measured_inputs(folder / "model.onnx", [], 1)
    seen = {}
    logits_of(exact, images, network.architecture.block_config, seen)
    for name, one in inputs_of(seen).items():
        for measure in ("largest", "mean", "mean_square"):
            np.testing.assert_allclose(getattr(found[name], measure), getattr(one, measure), rtol=1e-3, atol=1e-4)


CONV1 = "backbone.features.denseblock1.cell_list.0.conv1.weight"


def changed_weights(data, change):
    """The bytes of the first tensor in INT8 changed."""
    size = int.from_bytes(data[:8], "little")
    header = {}
    changed_header(data, header.update)
    start, end = header[CONV1]["data_offsets"]
    data = bytearray(data)
    data[8 + size + start : 8 + size + end] = change(data[8 + size + start : 8 + size + end])
    return bytes(data)


WRONG_INT8 = {
    "sums": (lambda data: changed_weights(data, lambda w: b"\x7f\x02" + w[2:]), "whose sums 16 bits do not hold"),
    "negative": (lambda data: changed_weights(data, lambda w: b"\x80\xff" + w[2:]), "whose sums 16 bits do not hold"),
    "type": (lambda data: changed_header(data, lambda h: h[CONV1].update(dtype="F32")), "should be of I8"),
    "unsigned": (lambda data: changed_header(data, lambda h: h[CONV1].update(dtype="U8")), "should be of I8"),
    "shape": (lambda data: changed_header(data, lambda h: h[CONV1].update(shape=[10, 6])), "should have the shape"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WRONG_INT8)
def test_files_that_are_no_models(name, tmp_path):
    change, sentence = WRONG_INT8[name]
    path = made_int8(SMALL, 9, tmp_path)[4]
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ReportedError, match=sentence):
        EngineModel(path)


@pytest.mark.slow
def test_the_precision_of_a_file_holds_for_its_own_numbers(int8, tmp_path):
    """INT8 is chosen when the file is made: a float32 file that says INT8 is none."""
    network = int8[0]
    data = written(network, described(network, 9), tmp_path).read_bytes()
    (tmp_path / "wrong.engine").write_bytes(changed_manifest(data, precision="int8"))
    with pytest.raises(ReportedError, match="tensors, expected"):
        EngineModel(tmp_path / "wrong.engine")
