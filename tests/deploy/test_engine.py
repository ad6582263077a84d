"""The CPU engine from Python: exported networks answer as they do in MindSpore, and files that are none are refused."""

import json
import os
import threading
from dataclasses import replace

import numpy as np
import pytest
from documents import blocks

from src.datasets.class_names import unnamed_classes
from src.datasets.preprocessing import default_preprocessing
from src.deploy.engine_file import write_engine_file
from src.deploy.engine_library import engine_library
from src.deploy.engine_model import EngineModel
from src.deploy.manifest import Manifest
from src.network.architecture import architecture
from src.network.densenet import DenseNet
from src.network.grad_cam import GradCam
from src.training.evaluation import PredictStep
from src.utils.errors import ReportedError, UsageError

pytestmark = pytest.mark.slow


def random_network(net="densenet100", classes=5, **fields):
    """A network whose normalisations all do something, some of them with a negative scale."""
    network, random = DenseNet(architecture(net, classes, **fields)), np.random.default_rng(0)
    for one in network.get_parameters():
        values = {
            "moving_variance": lambda shape: random.uniform(0.5, 2, shape),
            "moving_mean": lambda shape: random.normal(0, 0.3, shape),
            "beta": lambda shape: random.normal(0, 0.3, shape),
            "gamma": lambda shape: random.uniform(0.5, 1.5, shape) * random.choice([1, -1], shape),
        }.get(one.name.rpartition(".")[2])
        if values:
            one.set_data(type(one)(values(one.shape).astype(np.float32)))
    return network


def described(network, image_size, **fields):
    arch = network.architecture
    preprocessing = default_preprocessing("folder", image_size)
    return Manifest("ENGINE", "float32", 0, "folder", arch, preprocessing, unnamed_classes(arch.num_classes), **fields)


def written(network, manifest, folder, name="model.engine"):
    arrays = {one.name: one.asnumpy() for one in network.get_parameters()}
    write_engine_file(arrays, manifest, folder / name)
    return folder / name


SMALL = {"growth_rate": 5, "block_config": (2, 1), "stem_features": 6, "bn_size": 2}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small network, its images (9, 3, 9, 9), and its file."""
    network = random_network(**SMALL)
    images = np.random.default_rng(1).standard_normal((9, 3, 9, 9)).astype(np.float32)
    return network, images, written(network, described(network, 9), tmp_path_factory.mktemp("small"))


@pytest.mark.parametrize(
    ("net", "image_size", "fields"),
    [
        ("densenet121", 45, {"growth_rate": 7, "block_config": (2, 3, 1), "stem_features": 10, "compression": 0.3}),
        ("densenet121", 50, {"growth_rate": 12, "block_config": (1, 2), "stem_features": 70, "stem_pool": "same"}),
        ("densenet100", 11, {"growth_rate": 16, "block_config": (2,), "stem_features": 16, "bn_size": 1}),
        ("densenet121", 53, {"growth_rate": 6, "block_config": (1, 1), "stem_features": 9, "transition_pool": "max"}),
    ],
)
def test_answers_are_the_network_s(net, image_size, fields, tmp_path):
    """Of more images than are computed at once too, with a temperature, and by both ways to the classifier."""
    network = random_network(net, **fields)
    images = np.random.default_rng(1).standard_normal((37, 3, image_size, image_size)).astype(np.float32)
    expected, heat = GradCam(network, 0.5)(images)
    model = EngineModel(
        written(network, described(network, image_size, temperature=0.5), tmp_path), keeps_features=True
    )
    largest = np.abs(expected).max()
    assert np.abs(model(images) - expected).max() < 1e-5 * largest
    logits, found = model.heat(images)
    np.testing.assert_array_equal(logits, model(images))
    np.testing.assert_allclose(found, heat, rtol=1e-3, atol=1e-4 * heat.max())
    assert heat.max() > 0
    np.testing.assert_array_equal(model(images[5:6]), logits[5:6])
    assert model(images[:0]).shape == (0, 5)


def test_grey_networks(tmp_path):
    network = random_network(**SMALL, input_channels=1)
    manifest = replace(described(network, 9), preprocessing=default_preprocessing("folder", 9, input_channels=1))
    images = np.random.default_rng(1).standard_normal((3, 1, 9, 9)).astype(np.float32)
    expected = PredictStep(network).logits(images)
    np.testing.assert_allclose(EngineModel(written(network, manifest, tmp_path))(images), expected, atol=1e-5)


def test_threads_share_one_engine(small):
    network, images, path = small
    model = EngineModel(path)
    expected = PredictStep(network).logits(images)
    found = []
    threads = [threading.Thread(target=lambda: found.append(model(images))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for logits in found:
        np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_a_forked_process_answers(small):
    _, images, path = small
    model = EngineModel(path)
    expected = model(images)
    child = os.fork()
    if child == 0:
        os._exit(7 if np.array_equal(model(images), expected) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_the_lines_of_the_page_answer(small, tmp_path, monkeypatch):
    (program,) = blocks("docs/engine.md", "python")
    assert blocks("docs/zh/engine.md", "python") == [program]
    network, images, path = small
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flowers.engine").write_bytes(path.read_bytes())
    found = {"images": images}
    exec(program, found)  # noqa: S102 - our own document
    np.testing.assert_allclose(found["logits"], PredictStep(network).logits(images), atol=1e-5)


def test_bf16_and_devices_that_are_not_there(small, monkeypatch):
    _, images, path = small
    monkeypatch.setenv("DENSENET_KERNELS_ISA", "avx2")
    engine_library.cache_clear()
    with pytest.raises(ReportedError, match="takes a CPU with AMX or AVX512_BF16, but this engine computes with avx2"):
        EngineModel(path, precision="bf16")
    with pytest.raises(UsageError, match="found device_target GPU, expected CPU"):
        EngineModel(path, "GPU")
    with pytest.raises(ReportedError, match=r"takes images \('B', 3, 9, 9\), found \(9, 3, 8, 9\)"):
        EngineModel(path)(images[:, :, 1:])
    engine_library.cache_clear()


def test_without_a_compiler_it_says_so(small, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    engine_library.cache_clear()
    with pytest.raises(ReportedError, match=r"the CPU engine cannot be used: CXX names 'no-such-compiler'"):
        EngineModel(small[2])
    engine_library.cache_clear()


def changed_header(data, change):
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def changed_manifest(data, **values):
    def change(header):
        manifest = json.loads(header["__metadata__"]["densenet_manifest"])
        for name, value in values.items():
            group, _, field = name.rpartition("__")
            (manifest[group] if group else manifest)[field] = value
        header["__metadata__"]["densenet_manifest"] = json.dumps(manifest)

    return changed_header(data, change)


FINAL = "backbone.features.norm5.scale"


def moved(header, name=FINAL, by=4):
    header[name]["data_offsets"] = [place + by for place in header[name]["data_offsets"]]


WRONG = {
    "empty": (lambda data: data[:0], "too short for an engine file"),
    "no length": (lambda data: b"\xff" * 8 + data, "its header would have 18446744073709551615 bytes"),
    "a page": (lambda data: b"<!DOCTYPE html><html>" + data, "its header would have"),
    "cut": (lambda data: data[:-1], "should lie within the file"),
    "longer": (lambda data: data + b"\0\0\0\0", "bytes of numbers, expected"),
    "other json": (lambda data: changed_header(data, lambda h: h.clear()), "carries no manifest"),
    "broken json": (lambda data: data[:40] + b"\x01" + data[41:], "is no JSON that export.py writes"),
    "no tensor": (lambda data: changed_header(data, lambda h: h.pop(FINAL)), "holds 23 tensors, expected 24"),
    "another": (lambda data: changed_header(data, lambda h: h.update(x=h.pop(FINAL))), f"{FINAL} is missing"),
    "type": (lambda data: changed_header(data, lambda h: h[FINAL].update(dtype="F16")), "should be of F32"),
    "shape": (lambda data: changed_header(data, lambda h: h[FINAL].update(shape=[1])), "should have the shape"),
    "place": (lambda data: changed_header(data, moved), "should begin where the one before it ends|overlaps|within"),
    "not a number": (lambda data: data[:-4] + b"\0\0\xc0\x7f", "holds numbers that are not finite"),
    "format": (lambda data: changed_manifest(data, file_format="ONNX"), "file_format should be ENGINE"),
    "huge": (lambda data: changed_manifest(data, architecture__growth_rate=10**9), "growth_rate should be an integer"),
    "large": (lambda data: changed_manifest(data, architecture__growth_rate=512), "should have the shape"),
    "pool": (lambda data: changed_manifest(data, architecture__transition_pool="min"), "pool should be max or avg"),
    "names": (lambda data: changed_manifest(data, class_names=["a"]), "carries 1 class_names for 5 classes"),
    "temperature": (lambda data: changed_manifest(data, temperature=0), "temperature should be a number"),
    "no pixel": (lambda data: changed_manifest(data, preprocessing__image_size=1), "leaves no pixel"),
}


@pytest.mark.parametrize("name", WRONG)
def test_files_that_are_no_models(name, small, tmp_path):
    change, sentence = WRONG[name]
    (tmp_path / "wrong.engine").write_bytes(change(small[2].read_bytes()))
    with pytest.raises(ReportedError, match=sentence) as error:
        EngineModel(tmp_path / "wrong.engine")
    assert "\n" not in str(error.value) and "wrong.engine" in str(error.value)


def renamed(header):
    """Two tensors of one shape changed places."""
    one, other = (f"backbone.features.denseblock1.cell_list.{i}.conv2.weight" for i in (0, 1))
    header[one], header[other] = header[other], header[one]


CHANGED = {
    "a weight": lambda data: data[:-4] + b"\0\0\x80\x3f",
    "classes": lambda data: changed_manifest(data, class_names=[f"class_{i}" for i in (1, 0, 2, 3, 4)]),
    "mean": lambda data: changed_manifest(data, preprocessing__mean=[0.1, 0.2, 0.3]),
    "places": lambda data: changed_header(data, renamed),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_file_that_would_answer_otherwise_is_refused(name, small, tmp_path):
    _, images, path = small
    data = CHANGED[name](path.read_bytes())
    (tmp_path / "changed.engine").write_bytes(data)
    with pytest.raises(ReportedError, match=r"changed\.engine is damaged or was changed since export\.py wrote it"):
        EngineModel(tmp_path / "changed.engine")
    (tmp_path / "old.engine").write_bytes(changed_header(data, lambda h: h["__metadata__"].pop("densenet_sha256")))
    assert len(EngineModel(tmp_path / "old.engine")(images)) == len(images)


def test_a_file_is_the_same_each_time(small, tmp_path):
    network, _, path = small
    again = written(network, described(network, 9), tmp_path)
    assert again.read_bytes() == path.read_bytes()


def test_folders_and_pipes_are_no_models(tmp_path):
    os.mkfifo(tmp_path / "pipe.engine")
    (tmp_path / "folder.engine").mkdir()
    for name in ("pipe", "folder", "none"):
        with pytest.raises(ReportedError, match=f"{name}.engine .*give an .engine file"):
            EngineModel(tmp_path / f"{name}.engine")
