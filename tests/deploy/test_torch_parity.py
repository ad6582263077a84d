"""Against PyTorch itself: torchvision's and timm's networks, their files, and the comparison script.

Needs requirements-torch.txt. `pytest -s` shows the differences that were measured.
"""

import importlib
import json
import pickle
import re
import subprocess
import zipfile
from argparse import Namespace
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from commands import HELD_OUT_DIGITS, TINY
from cpp import photographs
from fuzz.children import in_child

import train
from src.datasets.classification import evaluation_batches
from src.datasets.preprocessing import default_preprocessing
from src.datasets.preprocessing_choices import DECODED
from src.datasets.source import Source
from src.deploy import convert_weights, pickled, weight_files
from src.deploy.torch_names import torch_name
from src.deploy.weight_files import read_torch_weights
from src.losses.crossentropy import CrossEntropy
from src.network.densenet import DenseNet, architecture
from src.ops import build
from src.training.model_card import model_card_of
from src.utils.checkpoint import load_checkpoint, load_weights, save_checkpoint
from src.utils.errors import ReportedError, UsageError, run

pytestmark = [pytest.mark.torch, pytest.mark.slow]

NETWORKS = ["densenet121", "densenet161", "densenet169", "densenet201"]
RELATIVE = {"growth_rate": 4, "block_config": (2, 3)}  # and torchvision's num_init_features, our stem_features, 8


@pytest.fixture(scope="module")
def theirs():
    import torch_models  # here and not above: collecting the tests needs no PyTorch

    return torch_models


@pytest.fixture(scope="module")
def torch(theirs):
    return theirs.torch


@pytest.fixture(autouse=True)
def forked(request, monkeypatch, tmp_path_factory):
    """The reader of pickles forked from this process, which has PyTorch: one of its own imports it for seconds."""
    if "own_reader" in request.keywords:
        return

    def read(path, entry):
        answer = tmp_path_factory.mktemp("answer") / "answer"

        def work():
            said, data = pickled.answer(path, entry)
            answer.write_bytes(json.dumps(said).encode() + b"\n" + data)

        outcome = in_child(work, 100)
        data = answer.read_bytes() if outcome.kind == "done" else b""
        return subprocess.CompletedProcess([], outcome.kind != "done", data, outcome.text.encode())

    request.getfixturevalue("torch")
    monkeypatch.setattr(weight_files, "_read_apart", read)


def converted(source: Path, *flags: str, kernels: Path | None = None) -> DenseNet:
    """Our network with the weights of the file `source`, by way of a checkpoint."""
    target = source.with_name("converted.ckpt")
    convert_weights.main([str(source), str(target), *flags])
    checkpoint = load_checkpoint(target)
    network = DenseNet(model_card_of(checkpoint).architecture, kernels=str(kernels) if kernels else None)
    load_weights(network, checkpoint)
    return network


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, in units of the largest value."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


class LossAndGradients(ms.nn.Cell):
    def __init__(self, network):
        super().__init__(auto_prefix=False)
        self.network = network.set_train()
        self.loss = CrossEntropy()
        self.gradients = ms.value_and_grad(self.forward, None, network.trainable_params())

    def forward(self, images, labels):
        return self.loss(self.network(images), labels)

    def construct(self, images, labels):
        return self.gradients(images, labels)


@pytest.fixture
def one_by_one():
    """MindSpore computes each operator as it comes to it, and compiles no graph, of which the largest take a minute."""
    before = ms.get_context("mode")
    ms.set_context(mode=ms.PYNATIVE_MODE)
    yield
    ms.set_context(mode=before)


def compared(theirs, model, network: DenseNet, images) -> None:
    """Logits in evaluation; loss, gradients and running statistics of a step in training."""
    in_evaluation = difference(
        network.set_train(False)(ms.Tensor(images.numpy())).asnumpy(), theirs.logits(model, images)
    )
    labels = np.arange(len(images), dtype=np.int32) * 3 % network.architecture.num_classes
    loss, gradients = LossAndGradients(network)(ms.Tensor(images.numpy()), ms.Tensor(labels))
    expected_loss, expected = theirs.gradients(model, images, labels)
    found = {torch_name(p.name): g.asnumpy() for p, g in zip(network.trainable_params(), gradients, strict=True)}
    assert found.keys() == expected.keys()
    in_gradients = {k: np.linalg.norm(found[k] - v) / np.linalg.norm(v) for k, v in expected.items()}
    worst = max(in_gradients, key=in_gradients.get)
    moved = {torch_name(name): parameter.asnumpy() for name, parameter in network.parameters_dict().items()}
    statistics = {k: v.numpy() for k, v in model.state_dict().items() if "running" in k}
    in_statistics = max(difference(moved[name], value) for name, value in statistics.items())

    print(f"\nlogits {in_evaluation:.1e}, loss {abs(loss.asnumpy() / expected_loss - 1):.1e}, gradients "
          f"{in_gradients[worst]:.1e} ({worst}), running statistics {in_statistics:.1e}")  # fmt: skip
    assert in_evaluation < 1e-5
    assert loss.asnumpy() == pytest.approx(expected_loss, rel=1e-5)
    assert in_gradients[worst] < 1e-3, worst
    assert in_statistics < 1e-5


@pytest.mark.parametrize("net", NETWORKS[:2])
def test_torchvisions_network_has_the_same_logits_and_gradients(net, theirs, torch, tmp_path, one_by_one):  # noqa: ARG001
    """The first as the plain network, the other with the C++ kernels; 169 and 201 differ in their numbers of layers."""
    torch.manual_seed(0)
    model = theirs.randomised(theirs.torchvision.models.get_model(net))
    images = theirs.random_images(model, 4, 64)
    theirs.without_kinks(model, images)
    torch.save(model.state_dict(), tmp_path / "model.pth")
    network = converted(tmp_path / "model.pth", kernels=None if net == NETWORKS[0] else build.kernels().library)
    assert network.architecture == architecture(net, 1000)
    compared(theirs, model, network, images)


@pytest.mark.parametrize("kernels", [False, True], ids=["plain", "kernels"])
def test_a_compiled_network_has_the_same_logits_and_gradients(kernels, theirs, torch, tmp_path):
    """In a graph, of which the sizes change nothing but the time to compile it."""
    torch.manual_seed(0)
    model = relative(theirs)
    images = theirs.random_images(model, 4, 64)
    theirs.without_kinks(model, images)
    torch.save(model.state_dict(), tmp_path / "model.pth")
    library = build.kernels().library if kernels else None
    compared(theirs, model, converted(tmp_path / "model.pth", "--net", "densenet121", kernels=library), images)


def test_timms_network_has_the_same_logits(theirs, torch, tmp_path, one_by_one):  # noqa: ARG001
    import timm
    from safetensors.torch import save_file

    model = theirs.randomised(timm.create_model("densenet121"))
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    images = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, 64, 64), np.float32))
    network = converted(tmp_path / "model.safetensors")
    in_evaluation = difference(
        network.set_train(False)(ms.Tensor(images.numpy())).asnumpy(), theirs.logits(model, images)
    )
    print(f"\ntimm densenet121: logits {in_evaluation:.1e}")
    assert in_evaluation < 1e-5

    convert_weights.main([str(tmp_path / "converted.ckpt"), str(tmp_path / "back.pth")])
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    for model in (timm.create_model("densenet121"), theirs.torchvision.models.densenet121()):
        model.load_state_dict(back)  # strict
    for name, value in torch.load(tmp_path / "back.pth", weights_only=True).items():
        assert torch.equal(model.state_dict()[name], value)


@pytest.mark.parametrize("origin", ["timm", "torchvision"])
def test_photographs_get_the_logits_of_where_the_weights_are_from(origin, theirs, torch, tmp_path, one_by_one):  # noqa: ARG001
    """Each through its own pipeline and network, and through ours with what the converter found."""
    import timm
    from safetensors.torch import save_file

    if origin == "timm":
        model = theirs.randomised(timm.create_model("densenet121"))
        timm.models.save_for_hf(model, tmp_path, safe_serialization=True)
        transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    else:
        model = theirs.randomised(theirs.torchvision.models.densenet121())
        save_file(model.state_dict(), tmp_path / "model.safetensors")
        transform = theirs.torchvision.models.DenseNet121_Weights.IMAGENET1K_V1.transforms()
    pictures = photographs()
    expected = theirs.logits(model, torch.stack([transform(picture) for picture in pictures]))

    network = converted(tmp_path / "model.safetensors", kernels=build.kernels().library).set_train(False)
    preprocessing = model_card_of(load_checkpoint(tmp_path / "converted.ckpt")).preprocessing
    source = Source("folder", ("any",), np.zeros(2, np.int32), DECODED, lambda i: np.asarray(pictures[i]), str)
    ((images, _, _),) = evaluation_batches(source, preprocessing, batch_size=2, workers=1)
    found = difference(network(ms.Tensor(images)).asnumpy(), expected)
    squashed = default_preprocessing("imagenet")
    ((images, _, _),) = evaluation_batches(source, squashed, batch_size=2, workers=1)
    otherwise = difference(network(ms.Tensor(images)).asnumpy(), expected)
    print(f"\n{origin}: {preprocessing.shape_in_words()}: logits {found:.1e}, with the seed's input {otherwise:.1e}")
    assert found < 1e-2 < otherwise


@pytest.mark.parametrize("net", NETWORKS)
def test_timm_and_torchvision_have_our_names_and_shapes(net, theirs, torch):
    import timm

    ours = {torch_name(name): p.shape for name, p in DenseNet(architecture(net, 1000)).parameters_dict().items()}
    with torch.device("meta"):
        for model in (timm.create_model(net), theirs.torchvision.models.get_model(net)):
            state = {k: tuple(v.shape) for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
            assert state == ours


def test_the_model_zoos_pools(theirs, torch, tmp_path):
    """A network as the zoo's, once as ours from its checkpoint and once as torchvision's with other pools."""
    pools = {"transition_pool": "max", "stem_pool": "same"}
    zoo = DenseNet(architecture("densenet121", 5, stem_features=8, **RELATIVE, **pools))
    model = theirs.randomised(theirs.torchvision.models.DenseNet(**RELATIVE, num_init_features=8, num_classes=5))
    model.features.pool0 = torch.nn.Sequential(
        torch.nn.ConstantPad2d((0, 1, 0, 1), -torch.inf), torch.nn.MaxPool2d(3, 2)
    )
    model.features.transition1.pool = torch.nn.MaxPool2d(2)
    state = model.state_dict()
    for name, parameter in zoo.parameters_dict().items():
        parameter.set_data(ms.Tensor(state[torch_name(name)].numpy()))
    save_checkpoint(tmp_path / "zoo.ckpt", zoo.get_parameters(), None)
    network = converted(tmp_path / "zoo.ckpt", "--net", "densenet121").set_train(False)
    images = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 3, 64, 64), np.float32))
    assert difference(network(ms.Tensor(images.numpy())).asnumpy(), theirs.logits(model, images)) < 1e-5


def relative(theirs):
    return theirs.randomised(theirs.torchvision.models.DenseNet(**RELATIVE, num_init_features=8, num_classes=5))


def test_the_files_that_torchvision_released(theirs, torch, tmp_path):
    """Their names are of the old style, without counters, and so is the file's format."""
    state = relative(theirs).state_dict()
    old = {k.replace("norm1.", "norm.1.").replace("norm2.", "norm.2.").replace("conv1.", "conv.1."): v
           for k, v in state.items() if not k.endswith("num_batches_tracked")}  # fmt: skip
    torch.save(old, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    network = converted(tmp_path / "old.pth", "--net", "densenet121")
    for name, parameter in network.parameters_dict().items():
        np.testing.assert_array_equal(parameter.asnumpy(), state[torch_name(name)].numpy())


@pytest.mark.parametrize("kind", ["half", "bfloat16"])
def test_half_precision(theirs, torch, tmp_path, kind):
    state = {name: value.to(getattr(torch, kind)) for name, value in relative(theirs).state_dict().items()}
    state = {name: value.long() if name.endswith("tracked") else value for name, value in state.items()}
    torch.save(state, tmp_path / "half.pt")
    network = converted(tmp_path / "half.pt", "--net", "densenet121")
    for name, parameter in network.parameters_dict().items():
        np.testing.assert_array_equal(parameter.asnumpy(), state[torch_name(name)].float().numpy())


class Attack:
    """Unpickling it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return Path.mkdir, (self.folder,)


CONV0 = "features.conv0.weight"
BAD = {
    "attack": "cannot be read as PyTorch weights: it is damaged or holds more than tensors; save them again with torch",
    "pickle": "cannot be read as PyTorch weights",
    "text": "cannot be read as PyTorch weights",
    "cut": "cannot be read as PyTorch weights",
    "model": "cannot be read as PyTorch weights",
    "tensor": "holds a Tensor, expected a state_dict: tensors by their names",
    "mixed": "holds more than tensors, first 'epoch', a int; save the model's state_dict alone",
    "vast": "bytes, but its tensors claim 4,000,0",
    "packed": "bytes, but its tensors claim 40,",
    "int8": f"'{CONV0}' has the type int8, expected float32, float16 or bfloat16",
    "double": f"'{CONV0}' has the type float64, expected float32, float16 or bfloat16",
    "sparse": f"'{CONV0}' is not stored as a dense array; save it as one",
    "several": "holds several sets of weights: state_dict, state_dict_ema; choose one with --entry",
    "other": "these are not the weights of a DenseNet classifier: features.conv0.weight is missing, and so are featur",
    "page": "cannot be read as PyTorch weights: it is an HTML page, which a server sent instead of the f",
    "nan": f"holds numbers that no trained network has: {CONV0} has values that are not finite",
    "features": "holds features without a classifier; give --reset_head to convert these alone",
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_pth(theirs, torch, tmp_path, capsys, kind):
    model = relative(theirs)
    state = model.state_dict()
    path = tmp_path / f"{kind}.pth"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Attack(tmp_path / "made"), protocol=2))
    elif kind in ("text", "page"):
        path.write_text({"text": "no tensors here", "page": "<!DOCTYPE html><html></html>"}[kind])
    else:
        saved = {
            "attack": {CONV0: Attack(tmp_path / "made")},
            "cut": state,
            "model": model,
            "tensor": state[CONV0],
            "mixed": {"epoch": 3} | state,
            "several": {"state_dict": state, "state_dict_ema": state},
            "other": {"layer1.0.conv1.weight": state[CONV0]},
            "nan": state | {CONV0: state[CONV0] * float("nan")},
            "features": {name: value for name, value in state.items() if name.startswith("features")},
            "vast": state | {CONV0: torch.zeros(1).expand(1000, 1000, 1000)},
            "packed": state | {CONV0: torch.zeros(10**7)},
            "int8": state | {CONV0: state[CONV0].to(torch.int8)},
            "double": state | {CONV0: state[CONV0].double()},
            "sparse": state | {CONV0: state[CONV0].to_sparse()},
        }[kind]
        torch.save(saved, path)
    if kind == "packed":
        with zipfile.ZipFile(path) as stored:
            members = {name: stored.read(name) for name in stored.namelist()}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, content in members.items():
                packed.writestr(name, content)
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-1000])
    assert run(convert_weights.main, [str(path), str(tmp_path / "new.ckpt"), "--net", "densenet121"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {path}")
    assert BAD[kind] in line
    assert list(tmp_path.iterdir()) == [path]


WRAPPED = {
    "alone": (lambda state: state, None),
    "parallel": (lambda state: {f"module.{k}": v for k, v in state.items()}, "the prefix 'module.' was taken away"),
    "lightning": (
        lambda state: {"epoch": 3, "pytorch-lightning_version": "2", "optimizer_states": [{"state": {0: state}}],
                       "state_dict": {f"model.net.{k}": v for k, v in state.items()}},
        "the weights are its entry 'state_dict'",
    ),
    "training": (
        lambda state: {"epoch": 3, "best_acc1": next(iter(state.values())).sum() * 0, "args": Namespace(lr=0.1),
                       "model": {"state_dict": state}, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}},
        "the weights are its entry 'model.state_dict'",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "suffix"), [*((k, ".pth") for k in WRAPPED), ("lightning", ".ckpt"), ("alone", ".tar")]
)
def test_what_training_frameworks_save(theirs, torch, tmp_path, capsys, kind, suffix):
    """Parameters instead of tensors, wrapped names and all that stands beside the weights."""
    state = dict(relative(theirs).state_dict())
    state[CONV0] = torch.nn.Parameter(state[CONV0])
    wrap, said = WRAPPED[kind]
    torch.save(wrap(state), tmp_path / f"saved{suffix}")
    convert_weights.main([str(tmp_path / f"saved{suffix}"), str(tmp_path / "new.ckpt"), "--net", "densenet121"])
    assert said is None or said in capsys.readouterr().out
    arrays = load_checkpoint(tmp_path / "new.ckpt").arrays
    for name, value in arrays.items():
        np.testing.assert_array_equal(value, state[torch_name(name)].detach().numpy())


def test_one_of_several_is_chosen_and_features_are_fine_tuned(theirs, torch, tmp_path):
    state = relative(theirs).state_dict()
    features = {f"backbone.{k.removeprefix('features.')}": v for k, v in state.items() if "classifier" not in k}
    torch.save({"model": features, "model_ema": {k: v * 2 for k, v in features.items()}}, tmp_path / "two.pth")
    flags = ["--entry", "model_ema", "--reset_head", "--net", "densenet121"]
    convert_weights.main([str(tmp_path / "two.pth"), str(tmp_path / "new.ckpt"), *flags])
    checkpoint = load_checkpoint(tmp_path / "new.ckpt")
    assert not [name for name in checkpoint.arrays if name.startswith("head")]
    network = DenseNet(architecture("densenet121", 3, stem_features=8, **RELATIVE))
    with pytest.raises(ReportedError, match=r"it holds no classifier: train one on it with train\.py --train_pre"):
        load_weights(network, checkpoint)
    load_weights(network, checkpoint, reset_head=True)
    first = network.parameters_dict()["backbone.features.conv0.weight"].asnumpy()
    np.testing.assert_array_equal(first, 2 * state[CONV0].numpy())


BOMBS = {
    "bytes": b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.",  # 2 GB out of 30 bytes
    "shape": b"\x80\x02ctorch\nSize\n(J\xff\xff\xff\x7ft\x85R.",
    "memo": b"\x80\x02}r\xff\xff\xff\x7f.",
    "nested": b"\x80\x02" + b"]" * 10**5 + b"a" * (10**5 - 1) + b".",
    "doubled": b"\x80\x02X\x01\x00\x00\x00aq\x00" + b"h\x00h\x00\x86q\x00" * 10**4 + b".",
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_pickle_that_computes_is_stopped(tmp_path, kind):
    (tmp_path / "bomb.pth").write_bytes(BOMBS[kind])
    done = in_child(lambda: read_torch_weights(tmp_path / "bomb.pth"), seconds=100)
    assert done.kind == "refused"
    assert "bomb.pth " in done.text


@pytest.mark.own_reader
def test_pickles_are_read_in_a_process_of_their_own(theirs, torch, tmp_path, monkeypatch):
    """From wherever the command is called, and whatever the file's name begins with."""
    monkeypatch.chdir(tmp_path)
    state = relative(theirs).state_dict()
    torch.save({"model": state}, "-saved.pth")
    arrays, entry = read_torch_weights(Path("-saved.pth"))
    assert entry == "model"
    assert all(np.array_equal(arrays[name], value.numpy()) for name, value in state.items())
    Path("bomb.pth").write_bytes(BOMBS["bytes"])
    with pytest.raises(
        ReportedError, match=r"bomb\.pth takes more memory or time than weights in a file of its size can"
    ):
        read_torch_weights(Path("bomb.pth"))


@pytest.fixture(scope="module")
def comparison():
    return importlib.import_module("scripts.train_pytorch")


@pytest.mark.parametrize("flags", ["--mixup 0.2", "--ema_decay 0.9", "--drop_rate 0.2", "--dry_run", "--val_split 0.2"])
def test_the_comparison_script_refuses_what_it_does_not_repeat(flags, comparison):
    with pytest.raises(UsageError, match=r"the comparison only knows .*; leave it out"):
        comparison.main([*TINY, *([] if "val" in flags else ["--eval_data_dir", "bundled"]), *flags.split()])


def test_the_comparison_script_trains_as_train_py_does(tmp_path, capsys, comparison):
    script = comparison
    flags = [*TINY, "--eval_data_dir", "bundled", "--per_batch_size", "64", "--label_smooth", "--random_erasing", "0.5"]
    accuracy = script.main(flags)
    (loss,) = re.findall(r"loss:([0-9.]+),", capsys.readouterr().out)
    (epoch,) = train.main([*flags, "--save_ckpt_path", str(tmp_path)]).history
    assert float(loss) == pytest.approx(epoch["loss"], abs=2e-3)
    assert accuracy.top1 == pytest.approx(epoch["top1"], abs=2 / HELD_OUT_DIGITS)
