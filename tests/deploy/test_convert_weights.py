"""Weights from elsewhere, without PyTorch: .safetensors and the model zoo's checkpoints."""

import json
import shlex
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from commands import HELD_OUT_DIGITS, contents
from foreign_files import random_weights, state_dict, write_safetensors
from safetensors.numpy import load_file

import eval as evaluation
from src.datasets.preprocessing import default_preprocessing
from src.deploy import convert_weights
from src.network.densenet import DenseNet, architecture
from src.schema.pretrained_names import hub_name
from src.training.model_card import ModelCard, model_card_of
from src.utils.checkpoint import load_checkpoint, save_checkpoint
from src.utils.errors import ReportedError, run

TINY = {"growth_rate": 4, "block_config": (1, 2), "stem_features": 6}
ZOO = {"transition_pool": "max", "stem_pool": "same"}
CONV1 = "features.denseblock1.denselayer1.conv1.weight"


def convert(*arguments: object) -> Path:
    convert_weights.main([*map(str, arguments)])
    return Path(arguments[1])


def write_zoo(path: Path, weights: dict[str, np.ndarray], prefix: str = "") -> Path:
    """A checkpoint as MindSpore's ModelCheckpoint writes it."""
    ms.save_checkpoint(
        [{"name": prefix + name, "data": ms.Tensor(value)} for name, value in weights.items()], str(path)
    )
    return path


def write_own(path: Path, **pools: str) -> Path:
    weights = random_weights(**TINY, **pools)
    metadata = {
        "architecture": architecture("densenet121", 5, **TINY, **pools, drop_rate=0.2).to_dict(),
        "preprocessing": default_preprocessing("imagenet").to_dict(),
        "class_names": list("abcde"),
    }
    parameters = [ms.Parameter(ms.Tensor(value), name=name) for name, value in weights.items()]
    state = ms.Parameter(ms.Tensor([1, 2], ms.int32), name="backbone.features.denseblock1.x.dropout.random_state")
    save_checkpoint(path, [*parameters, state], metadata)
    return path


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.slow
def test_a_state_dict_becomes_a_checkpoint_and_comes_back(tmp_path, capsys):
    weights = random_weights("densenet100")
    source = write_safetensors(tmp_path / "model.safetensors", state_dict(weights))
    checkpoint = load_checkpoint(convert(source, tmp_path / "model.ckpt"))
    assert "model.ckpt: densenet100, 5 classes, avg pools in its transitions; 501 arrays of" in capsys.readouterr().out
    assert_same(checkpoint.arrays, weights)
    card = model_card_of(checkpoint)
    assert card.architecture == architecture("densenet100", 5)
    assert card.preprocessing == default_preprocessing("cifar10")
    assert card.class_names == ("class_0", "class_1", "class_2", "class_3", "class_4")
    assert checkpoint.metadata["recipe"] == {"net": "densenet100", "dataset": "cifar10"}

    back = load_file(convert(tmp_path / "model.ckpt", tmp_path / "back.safetensors"))
    counters = {name for name in back if name.endswith("num_batches_tracked")}
    assert len(counters) == 1 + 2 * 48 + 2 + 1  # normalisations: stem, dense layers, transitions, last
    assert all(back[name].dtype == np.int64 and back[name] == 0 for name in counters)
    assert set(back) == set(state_dict(weights))
    for name in set(back) - counters:
        np.testing.assert_array_equal(back[name], state_dict(weights)[name])


def converted_with_names(folder: Path, text: str) -> ModelCard:
    """What a checkpoint says whose class names were the lines of `text`."""
    source = write_safetensors(folder / "a.safetensors", state_dict(random_weights(**TINY)))
    (folder / "names.txt").write_text(text)
    flags = ["--net", "densenet121", "--class_names", folder / "names.txt"]
    return model_card_of(load_checkpoint(convert(source, folder / "a.ckpt", *flags)))


def test_imagenet_networks_get_torchvision_s_preprocessing_and_the_names_given(tmp_path):
    card = converted_with_names(tmp_path, "tench\ngoldfish\ngrey whale\nmud hen\nflamingo\n")
    assert card.class_names == ("tench", "goldfish", "grey whale", "mud hen", "flamingo")
    assert card.architecture == architecture("densenet121", 5, **TINY)
    assert card.preprocessing.to_dict() == {
        "image_size": 224, "resize": 256, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
        "resize_mode": "shorter_side", "interpolation": "bilinear", "pixels": "shown",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("own", [False, True])
def test_for_one_channel_the_stem_is_summed_over_the_colours(own, tmp_path):
    weights = random_weights(**TINY)
    if own:
        source, flags = write_own(tmp_path / "own.ckpt"), []
    else:
        source = write_safetensors(tmp_path / "a.safetensors", state_dict(weights))
        flags = ["--net", "densenet121"]
    converted = load_checkpoint(convert(source, tmp_path / "grey.ckpt", "--input_channels", 1, *flags))
    card = model_card_of(converted)
    assert (card.architecture.input_channels, card.preprocessing.input_channels) == (1, 1)
    assert card.preprocessing.mean == (0.449,)
    stem = "backbone.features.conv0.weight"
    np.testing.assert_allclose(converted.arrays[stem], weights[stem].sum(1, keepdims=True), rtol=1e-6)
    grey = DenseNet(card.architecture)
    colours = DenseNet(architecture("densenet121", 5, **TINY))
    ms.load_param_into_net(grey, {name: ms.Parameter(value, name=name) for name, value in converted.weights().items()})
    ms.load_param_into_net(colours, {name: ms.Parameter(value, name=name) for name, value in weights.items()})
    image = np.random.default_rng(0).random((2, 1, 32, 32), np.float32)
    expected = colours.set_train(False)(ms.Tensor(image.repeat(3, 1))).asnumpy()
    np.testing.assert_allclose(grey.set_train(False)(ms.Tensor(image)).asnumpy(), expected, rtol=1e-3)


def test_one_channel_of_one_channel_is_refused(tmp_path):
    source = write_safetensors(tmp_path / "a.safetensors", state_dict(random_weights(**TINY, input_channels=1)))
    with pytest.raises(ReportedError, match="is not of 3 channels; leave --input_channels out"):
        convert(source, tmp_path / "a.ckpt", "--net", "densenet121", "--input_channels", 1)


def test_half_precision_is_widened_exactly(tmp_path):
    weights = random_weights(**TINY)
    halves = {name: value.astype(np.float16) for name, value in weights.items()}
    source = write_safetensors(tmp_path / "half.safetensors", state_dict(halves))
    checkpoint = load_checkpoint(convert(source, tmp_path / "half.ckpt", "--net", "densenet121"))
    assert_same(checkpoint.arrays, {name: value.astype(np.float32) for name, value in halves.items()})

    upper = {name: (value.view(np.uint32) >> 16).astype(np.uint16) for name, value in weights.items()}
    types = {name: "BF16" for name in state_dict(weights) if not name.endswith("tracked")}
    source = write_safetensors(tmp_path / "bfloat.safetensors", state_dict(upper), types)
    checkpoint = load_checkpoint(convert(source, tmp_path / "bfloat.ckpt", "--net", "densenet121"))
    assert_same(checkpoint.arrays, {k: (v.view(np.uint32) & 0xFFFF0000).view(np.float32) for k, v in weights.items()})


def test_class_names_are_spelt_as_class_folders_are(tmp_path):
    """A name with a no-break space, say: the checkpoint would otherwise be refused by all that reads it."""
    card = converted_with_names(tmp_path, "a\r\nb\N{NO-BREAK SPACE}c\nd\n塔\ne\n")
    assert card.class_names == ("a", "b?c", "d", "塔", "e")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_larger_than_any_densenet_is_not_read(tmp_path, suffix):
    source = tmp_path / f"vast{suffix}"
    with source.open("wb") as file:
        file.truncate(2**40)  # of the disk it takes nothing
    with pytest.raises(ReportedError, match=r"has 1,099,511,627,776 bytes, expected at most 4,294,967,296"):
        convert(source, tmp_path / "new.ckpt")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rename", "said"),
    [
        (lambda name: "module." + name, ["the prefix 'module.' was taken away"]),
        (lambda name: "model.net." + name, ["the prefix 'model.net.' was taken away"]),
        (lambda name: name.replace("classifier", "classifier.1"), ["'classifier.1' is the classifier"]),
        (
            lambda name: "backbone." + name.removeprefix("features.") if "features" in name else "fc" + name[10:],
            ["'features.' was put before the names", "the prefix 'backbone.' was taken away", "'fc' is the classifier"],
        ),
    ],
)
def test_wrapped_names_are_unwrapped_and_said(rename, said, tmp_path, capsys):
    weights = random_weights(**TINY)
    source = write_safetensors(tmp_path / "a.safetensors", {rename(k): v for k, v in state_dict(weights).items()})
    checkpoint = load_checkpoint(convert(source, tmp_path / "a.ckpt", "--net", "densenet121"))
    assert_same(checkpoint.arrays, weights)
    assert capsys.readouterr().out.splitlines()[:-1] == [f"{source}: {sentence}" for sentence in said]


def test_features_alone_become_a_start_for_fine_tuning(tmp_path):
    weights = random_weights(**TINY)
    state = {k: v for k, v in state_dict(weights).items() if k.startswith("features")}
    source = write_safetensors(tmp_path / "a.safetensors", state)
    checkpoint = load_checkpoint(convert(source, tmp_path / "a.ckpt", "--net", "densenet121", "--reset_head"))
    assert_same(checkpoint.arrays, {k: v for k, v in weights.items() if not k.startswith("head")})


@pytest.mark.parametrize("kind", [ms.float16, ms.bfloat16])
def test_a_checkpoint_in_half_precision(tmp_path, kind):
    halves = {name: ms.Tensor(value, kind) for name, value in random_weights(**TINY).items()}
    ms.save_checkpoint([{"name": name, "data": value} for name, value in halves.items()], str(tmp_path / "half.ckpt"))
    checkpoint = load_checkpoint(convert(tmp_path / "half.ckpt", tmp_path / "own.ckpt", "--net", "densenet121"))
    assert_same(checkpoint.arrays, {name: value.float().asnumpy() for name, value in halves.items()})


def test_names_of_the_files_that_torchvision_released(tmp_path):
    weights = random_weights(**TINY)
    state = {k.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): v for k, v in state_dict(weights).items()}
    state = {name: value for name, value in state.items() if not name.endswith("tracked")}
    assert "features.denseblock1.denselayer1.norm.1.weight" in state
    source = write_safetensors(tmp_path / "old.safetensors", state)
    checkpoint = load_checkpoint(convert(source, tmp_path / "old.ckpt", "--net", "densenet121"))
    assert_same(checkpoint.arrays, weights)


def test_the_model_zoos_checkpoint_and_back(tmp_path):
    weights = random_weights(**TINY)
    saved = weights | {"moments." + name: value for name, value in weights.items()} | {"global_step": np.int32([7])}
    source = write_zoo(tmp_path / "zoo.ckpt", saved)
    checkpoint = load_checkpoint(convert(source, tmp_path / "own.ckpt", "--net", "densenet121"))
    assert_same(checkpoint.arrays, weights)
    assert model_card_of(checkpoint).architecture == architecture("densenet121", 5, **TINY, **ZOO)

    back = load_checkpoint(convert(tmp_path / "own.ckpt", tmp_path / "back.ckpt"))
    assert back.metadata == {}
    assert_same(back.arrays, weights)
    loaded = ms.load_checkpoint(str(tmp_path / "back.ckpt"))  # as the zoo reads it
    assert list(loaded) == list(weights)


def test_the_zoos_whole_training_step(tmp_path):
    weights = random_weights(**TINY)
    source = write_zoo(tmp_path / "zoo.ckpt", weights | {"moments.network.head.fc.bias": weights["head.fc.bias"]}, "")
    source = write_zoo(tmp_path / "step.ckpt", weights, "network.")
    checkpoint = load_checkpoint(convert(source, tmp_path / "own.ckpt", "--net", "densenet121"))
    assert_same(checkpoint.arrays, weights)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("net", "flags", "pools"),
    [
        ("densenet121", "", ("max", "same")),
        ("densenet121", "--transition_pool avg --stem_pool pad", ("avg", "pad")),
        ("densenet100", "", ("avg", "pad")),
        ("densenet100", "--transition_pool max", ("max", "pad")),
    ],
)
def test_pools_of_a_foreign_checkpoint(tmp_path, net, flags, pools):
    source = write_zoo(tmp_path / "zoo.ckpt", random_weights(net, **TINY))
    target = convert(source, tmp_path / "own.ckpt", "--net", net, *flags.split())
    arch = model_card_of(load_checkpoint(target)).architecture
    assert (arch.transition_pool, arch.stem_pool) == pools


@pytest.mark.slow
def test_eval_takes_what_was_converted(trained_run, tmp_path):
    convert(trained_run / "best.ckpt", tmp_path / "digits.safetensors")
    names = ["--class_names", trained_run / "class_names.txt"]
    converted = convert(tmp_path / "digits.safetensors", tmp_path / "d.ckpt", "--net", "densenet100", *names)
    expected = load_checkpoint(trained_run / "best.ckpt").weights()
    assert_same(load_checkpoint(converted).arrays, expected)
    flags = ["--ckpt_files", str(converted), "--dataset", "digits", "--save_ckpt_path", str(tmp_path)]
    (accuracy,) = evaluation.main([*flags, "--image_size", "8"]).values()
    assert accuracy.seen == HELD_OUT_DIGITS


def test_a_target_that_does_not_read_back_is_deleted(tmp_path, monkeypatch):
    def flip_a_bit(path, arrays):
        damaged = {name: value.copy() for name, value in arrays.items()}
        damaged[CONV1].reshape(-1).view(np.uint8)[0] ^= 1
        write_safetensors(path, damaged)

    monkeypatch.setattr(convert_weights, "write_torch_weights", flip_a_bit)
    with pytest.raises(ReportedError, match="did not read back as it was written and is deleted; check the disk"):
        convert(write_own(tmp_path / "own.ckpt"), tmp_path / "damaged.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["own.ckpt"]


def test_the_commands_of_the_documentation_can_be_meant():
    start = "python -m src.deploy.convert_weights "
    commands = [line for line in convert_weights.__doc__.splitlines() if line.startswith(start)]
    assert len(commands) == 6
    for command in commands:
        asked = convert_weights._parse(shlex.split(command.removeprefix(start)))
        assert hub_name(asked.source) or Path(asked.source).suffix in convert_weights.SUFFIXES
        assert asked.target.suffix in convert_weights.SUFFIXES


# (arguments, exit status, what the line must say). {b} is the folder that `bench` fills.
BAD = [
    ("", 2, "the following arguments are required: SOURCE, TARGET; --help shows the usage"),
    ("{b}/own.ckpt {b}/new.onnx", 2, "new.onnx is of no known kind; expected a name that ends in .pth, .pt, .safe"),
    ("{b}/names.txt {b}/new.ckpt", 2, "names.txt is of no known kind"),
    ("{b}/own.ckpt {b}/own.ckpt", 2, "own.ckpt exists and is not overwritten; choose another name"),
    ("{b}/own.ckpt {b}/link.safetensors", 2, "link.safetensors exists and is not overwritten"),
    ("{b}/own.ckpt {b}/none/new.safetensors", 2, "there is no folder {b}/none; create it first"),
    ("{b}/own.ckpt {b}/new.safetensors --netw densenet121", 2, "unrecognized arguments: --netw densenet121"),
    ("{b}/own.ckpt {b}/new.safetensors --net densenet12", 2, "argument --net: invalid choice: 'densenet12'"),
    ("{b}/own.ckpt {b}/new.safetensors --net densenet121", 2, "own.ckpt carries its network, densenet121; leave --net"),
    ("{b}/own.ckpt {b}/new.safetensors --class_names {b}/names.txt", 2, "class_names are kept in this project's che"),
    ("{good} --stem_pool same", 2, "good.safetensors are known; leave --transition_pool and --stem_pool out"),
    ("{b}/none.safetensors {b}/new.ckpt", 1, "{b}/none.safetensors does not exist; give a state_dict as"),
    ("{b}/none.ckpt {b}/new.safetensors", 1, "none.ckpt does not exist; give a .ckpt file"),
    ("{b}/text.safetensors {b}/new.ckpt", 1, "text.safetensors cannot be read as safetensors: "),
    ("{b}/empty.safetensors {b}/new.ckpt", 1, "empty.safetensors cannot be read as safetensors: it is an empty file"),
    ("{b}/cut.safetensors {b}/new.ckpt", 1, "cut.safetensors cannot be read as safetensors: "),
    ("{b}/greedy.safetensors {b}/new.ckpt", 1, "greedy.safetensors cannot be read as safetensors ("),
    ("{b}/shape.safetensors {b}/new.ckpt", 1, "shape.safetensors: 'a' has a shape that is no array's; use another"),
    ("{b}/long.safetensors {b}/new.ckpt", 1, "long.safetensors: 'a' has a shape that is no array's; use another"),
    ("{b}/axes.safetensors {b}/new.ckpt", 1, "axes.safetensors: 'a' has a shape that is no array's; use another"),
    ("{b}/folder.safetensors {b}/new.ckpt", 1, "{b}/folder.safetensors is a folder; give a state_dict"),
    ("{b}/int8.safetensors {b}/new.ckpt", 1, f"'{CONV1}' has the type I8, expected float32, float16 or bfloat16"),
    ("{b}/double.safetensors {b}/new.ckpt", 1, f"'{CONV1}' has the type F64, expected float32, float16 or bfloat16"),
    ("{b}/nan.safetensors {b}/new.ckpt --net densenet121", 1, f"nan.safetensors holds numbers that no trained network "
     f"has: {CONV1} has values that are not finite; use"),
    ("{b}/variance.safetensors {b}/new.ckpt --net densenet121", 1, "features.norm5.running_var has negative variances"),
    ("{b}/nan.ckpt {b}/new.ckpt --net densenet121", 1, "nan.ckpt holds numbers that no trained network has: backbone."),
    ("{b}/two.safetensors {b}/new.ckpt --net densenet121", 1, "two.safetensors: these are the weights of 2 networks, "
     "of the prefixes 'student.', 'teacher.'; save one alone"),
    ("{b}/good.safetensors {b}/new.ckpt --entry model", 2, "is a .safetensors file, which has no entries; leave --en"),
    ("{b}/features.safetensors {b}/new.ckpt", 1, "holds features without a classifier; give --reset_head to convert "),
    ("{b}/own.ckpt {b}/new.safetensors --reset_head", 2, "--reset_head is for features that become a .ckpt"),
    ("{b}/counter.safetensors {b}/new.ckpt --net densenet121", 1, f"{CONV1} has the type int64, expected float32, fl"),
    ("{b}/other.safetensors {b}/new.ckpt", 1, "other.safetensors: these are not the weights of a DenseNet classifier: "
     "features.conv0.weight is missing, and so are features.denseblock1.denselayer1.conv2.weight and "
     "classifier.weight; the 1 arrays of the file begin with fc.weight"),
    ("{b}/good.safetensors {b}/new.ckpt", 1, "good.safetensors: these are the weights of a DenseNet with growth_rate "
     "4, block_config (1, 2), stem conv7x7, stem_features 6, bn_size 4, compression 0.5, which is none of densenet100, "
     "densenet121, densenet161, densenet169, densenet201; name the one it was derived from with --net"),
    ("{b}/odd.safetensors {b}/new.ckpt --net densenet121", 1, "odd.safetensors does not fit densenet121; missing from "
     "it: features.norm5.running_mean, features.norm5.running_var; not in the network: "
     "features.norm5.num_batches_tracked, features.norm6.num_batches_tracked, features.norm6.weight; "
     f"of another shape: {CONV1} is (16, 7, 1, 1) in the file and (16, 6, 1, 1) in "
     "the network; use another copy"),
    ("{b}/zoo_odd.ckpt {b}/new.ckpt --net densenet121", 1, "zoo_odd.ckpt does not fit densenet121; missing from it: "
     "backbone.features.norm5.beta; not in the network: extra; use another copy"),
    ("{b}/twice.safetensors {b}/new.ckpt", 1, f"holds features.denseblock1.denselayer1.conv.1.weight and {CONV1}, two "
     "names of one array"),
    ("{b}/hollow.safetensors {b}/new.ckpt --net densenet121", 1, "values, not half of the "),
    ("{b}/own.ckpt {b}/new.ckpt", 1, "own.ckpt has transition_pool avg, but the model zoo's networks have max and "),
    ("{b}/zoo.ckpt {b}/new.safetensors --net densenet121", 1, "zoo.ckpt has transition_pool max, but torchvision's "),
    ("{b}/zoo.ckpt {b}/new.safetensors --net densenet121 --transition_pool avg", 1, "zoo.ckpt has stem_pool same, but"),
    ("{good} --class_names {b}/none.txt", 1, "none.txt cannot be read ("),
    ("{good} --class_names {b}/text.safetensors", 1, "text.safetensors is not UTF-8 text; expected te"),
    ("{good} --class_names {b}/four.txt", 1, "four.txt has 4 lines, but the network has 5 classes"),
    ("{good} --class_names {b}/same.txt", 1, "same.txt, line 4: found 'b' a second time, expected a name for each"),
    ("{good} --class_names {b}/blank.txt", 1, "blank.txt, line 2: found no name, expected a name for each class"),
]  # fmt: skip


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Path:
    """Files, most of them bad in one way."""
    folder = tmp_path_factory.mktemp("bench")
    weights = random_weights(**TINY)
    state = state_dict(weights)
    conv1 = state[CONV1]
    good = write_safetensors(folder / "good.safetensors", state)
    write_own(folder / "own.ckpt")
    write_zoo(folder / "zoo.ckpt", weights)
    write_zoo(folder / "zoo_odd.ckpt", {"extra" if k.endswith("norm5.beta") else k: v for k, v in weights.items()})
    (folder / "link.safetensors").symlink_to(folder / "nowhere")
    (folder / "folder.safetensors").mkdir()
    (folder / "text.safetensors").write_bytes(b"\xff no tensors here")
    (folder / "empty.safetensors").write_bytes(b"")
    (folder / "cut.safetensors").write_bytes(good.read_bytes()[:-100])
    (folder / "greedy.safetensors").write_bytes((2**62).to_bytes(8, "little") + b"{}")
    for name, shape in (("shape", [0, 2**62]), ("long", [0, 2**64 - 1]), ("axes", [0] * 100)):
        header = json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}).encode()
        (folder / f"{name}.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    for name, value in (("int8", conv1.astype(np.int8)), ("double", conv1.astype(float))):
        write_safetensors(folder / f"{name}.safetensors", state | {CONV1: value})
    nan = {CONV1: conv1 * np.float32("nan")}
    write_safetensors(folder / "nan.safetensors", state | nan)
    variance = "features.norm5.running_var"
    write_safetensors(folder / "variance.safetensors", state | {variance: -state[variance]})
    write_zoo(
        folder / "nan.ckpt", {k: v * np.float32("nan") if k.endswith("conv0.weight") else v for k, v in weights.items()}
    )
    two = {f"{prefix}.{name}": value for prefix in ("student", "teacher") for name, value in state.items()}
    write_safetensors(folder / "two.safetensors", two)
    write_safetensors(folder / "features.safetensors", {k: v for k, v in state.items() if k.startswith("features")})
    write_safetensors(folder / "counter.safetensors", state | {CONV1: conv1.astype(np.int64)})
    write_safetensors(folder / "other.safetensors", {"fc.weight": np.zeros((2, 2), np.float32)})
    odd = {k.replace("norm5.running_var", "norm6.weight"): v for k, v in state.items()}
    del odd["features.norm5.running_mean"]
    odd |= {"features.norm6.num_batches_tracked": np.int64(0), CONV1: np.zeros((16, 7, 1, 1), np.float32)}
    write_safetensors(
        folder / "odd.safetensors", {k: v for k, v in odd.items() if not k.endswith("norm5.running_mean")}
    )
    write_safetensors(folder / "twice.safetensors", state | {CONV1.replace("conv1", "conv.1"): conv1})
    layers = {f"features.denseblock1.denselayer{i}.conv2.weight": conv1[:, :0, :, :] for i in range(2, 200)}
    write_safetensors(folder / "hollow.safetensors", state | layers)
    for name, lines in (("names", "a b c d e"), ("four", "a b c d"), ("same", "a b c b d"), ("blank", "a - b c d")):
        (folder / f"{name}.txt").write_text(lines.replace("-", "").replace(" ", "\n"))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "status", "message"), BAD)
def test_bad_input(bench, capsys, arguments, status, message):
    before = contents(bench)
    good = f"{bench}/good.safetensors {bench}/new.ckpt --net densenet121"
    assert run(convert_weights.main, arguments.format(b=bench, good=good).split()) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message.format(b=bench) in line
    assert contents(bench) == before


@pytest.mark.parametrize("arguments", ["{b}/pickled.pth {b}/new.ckpt", "{b}/own.ckpt {b}/new.pth"])
def test_without_pytorch(bench, capsys, monkeypatch, arguments, tmp_path):
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    (tmp_path / "pickled.pth").touch()
    (tmp_path / "own.ckpt").symlink_to(bench / "own.ckpt")
    assert run(convert_weights.main, arguments.format(b=tmp_path).split()) == 1
    assert (
        ".pth needs PyTorch, which is not installed; pip install torch, or use .safetensors" in capsys.readouterr().err
    )
    assert not (tmp_path / "new.ckpt").exists()
