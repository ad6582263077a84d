"""Weights by name, from a stand-in for the hub on loopback that serves what timm's `save_for_hf` writes."""

import json
import re
import time
from pathlib import Path
from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest
from commands import TINY, write_pictures
from foreign_files import random_weights, state_dict, write_safetensors
from hub_stand_in import hub_stand_in
from huggingface_hub import constants

import train
from src.datasets.preprocessing import default_preprocessing
from src.deploy import convert_weights
from src.deploy.hub import fetch
from src.deploy.named_weights import load_pretrained
from src.network.densenet import DenseNet, architecture
from src.schema.pretrained_names import hub_name
from src.training.model_card import ModelCard, model_card_of
from src.utils.checkpoint import load_checkpoint, load_weights, save_checkpoint
from src.utils.errors import ReportedError, UsageError, run
from src.utils.files import sha256_of

SMALL = {"growth_rate": 4, "block_config": (1, 1), "stem_features": 8}
RA = "timm/densenet121.ra_in1k"
CFG = {
    "architecture": "densenet121",
    "num_classes": 5,
    "global_pool": "avg",
    "pretrained_cfg": {
        "input_size": [3, 224, 224], "interpolation": "bicubic", "crop_pct": 0.875, "crop_mode": "center",
        "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """The files of a repository with a small network for colours."""
    folder = tmp_path_factory.mktemp("repository")
    write_safetensors(folder / "model.safetensors", state_dict(random_weights("densenet121", **SMALL)))
    (folder / "config.json").write_text(json.dumps(CFG))
    return folder


@pytest.fixture
def hub(files, tmp_path, monkeypatch):
    """The stand-in with the repository RA; the client asks it, patiently for a moment, and has an empty cache."""
    with hub_stand_in() as found:
        found.add(RA, files)
        monkeypatch.setattr(constants, "ENDPOINT", found.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", found.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        for name in ("HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT"):
            monkeypatch.setattr(constants, name, 0.3)
        monkeypatch.setattr("huggingface_hub.file_download._ETAG_RETRY_TIMEOUT", 0.3)
        at_once = SimpleNamespace(**vars(time) | {"sleep": lambda _: None})  # between the client's attempts
        for module in ("file_download", "utils._http"):
            monkeypatch.setattr(f"huggingface_hub.{module}.time", at_once)
        yield found


def load(name: str = RA, **options):
    return load_pretrained(name, net="densenet121", **options)


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        ("timm/densenet121.ra_in1k", "timm/densenet121.ra_in1k"),
        ("torchvision/densenet121", "timm/densenet121.tv_in1k"),
        ("torchvision/densenet161", "timm/densenet161.tv_in1k"),
        ("hf://somebody/their-densenet_2.1", "somebody/their-densenet_2.1"),
    ],
)
def test_names_mean_repositories(name, repository):
    found = hub_name(name)
    assert (found.name, found.repository, found.is_torchvision) == (name, repository, name.startswith("torchvision"))


def test_paths_are_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [hub_name(path) for path in ("", "best.ckpt", "runs/timm/a.ckpt", "/timm/x", "hf:/a/b")] == [None] * 5
    Path("timm").mkdir()
    Path("timm/a").touch()
    assert hub_name("timm/a") is None  # what is there is meant
    assert hub_name("timm/b")


BAD_NAMES = {
    "torchvision/densenet_121": "expected torchvision/ and one of densenet121, densenet161, densenet169, densenet201; "
    "choose one of them",
    "torchvision/resnet50": "found the pretrained weights 'torchvision/resnet50', expected torchvision/ and one of",
    "timm/": "found the pretrained weights 'timm/', expected timm/NAME of letters",
    "timm/a/b": "expected timm/NAME",
    "timm/../x": "expected timm/NAME",
    "hf://densenet121": "expected hf://OWNER/REPO of letters",
    "hf://a/b/c": "expected hf://OWNER/REPO",
    "hf://a/b c": "expected hf://OWNER/REPO",
}


@pytest.mark.parametrize("name", BAD_NAMES)
def test_what_is_no_name_is_bad_usage(name, capsys):
    assert run(train.main, [*TINY, "--train_pretrained", name]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert BAD_NAMES[name] in line


@pytest.mark.usefixtures("hub")
def test_weights_by_name_are_those_of_the_file(files):
    found = load()
    card = model_card_of(found)
    expected = random_weights("densenet121", **SMALL)
    assert found.arrays.keys() == expected.keys()
    assert all(np.array_equal(found.arrays[name], value) for name, value in expected.items())
    assert card.class_names == tuple(f"class_{i}" for i in range(5))
    assert card.preprocessing.shape_in_words() == "3 x 224 x 224 (shorter side to 256, bicubic)"
    said = found.metadata["origin"]
    assert said.startswith(f"weights of {RA}: {RA} on the Hugging Face hub, SHA-256 ")
    assert sha256_of(files / "model.safetensors") in said


def test_torchvisions_pictures_are_torchvisions(hub, files):
    """Its weights are those of timm's repository, which describes another way of resizing."""
    hub.add("timm/densenet121.tv_in1k", files)
    card = model_card_of(load("torchvision/densenet121"))
    assert card.preprocessing.shape_in_words() == "3 x 224 x 224 (shorter side to 256, bilinear)"


def test_a_repository_without_a_description_and_one_with_names(hub, files):
    weights = (files / "model.safetensors").read_bytes()
    hub.repositories["me/bare"] = {"model.safetensors": weights}
    names = ["ant", "bee", "cat", "dog", "eel"]
    named = json.dumps(CFG | {"label_names": names}).encode()
    hub.repositories["me/named"] = {"model.safetensors": weights, "config.json": named}
    assert model_card_of(load("hf://me/bare")).preprocessing.interpolation == "bilinear"
    assert model_card_of(load("hf://me/named")).class_names == tuple(names)


def test_what_is_converted_by_name_keeps_the_names_of_the_classes(hub, files, tmp_path):
    """The repository's, unless others are given; a list of another length is none."""
    names = ["ant", "bee", "cat", "dog", "eel"]
    weights = (files / "model.safetensors").read_bytes()
    for repository, held in (("me/named", names), ("me/short", names[:4])):
        described = json.dumps(CFG | {"label_names": held}).encode()
        hub.repositories[repository] = {"model.safetensors": weights, "config.json": described}
    (tmp_path / "own.txt").write_text("f\ng\nh\ni\nj\n")
    own = ["--class_names", str(tmp_path / "own.txt")]
    unnamed = tuple(f"class_{i}" for i in range(5))
    for name, flags, expected in (("named", [], tuple(names)), ("named", own, tuple("fghij")), ("short", [], unnamed)):
        target = tmp_path / f"{name}{len(flags)}.ckpt"
        convert_weights.main([f"hf://me/{name}", str(target), "--net", "densenet121", *flags])
        assert model_card_of(load_checkpoint(target)).class_names == expected


def test_grey_pictures_get_the_sums_of_the_average_where_that_is_meant(tmp_path):
    """Of a run's best.ckpt whose EMA is the best in it: no raw weight is left in it."""
    card = ModelCard(architecture("densenet100", 3, block_config=(1,)), default_preprocessing("cifar10"), tuple("abc"))
    network = DenseNet(card.architecture)
    averages = [ms.Parameter(2 * p + 1, name=f"ema.{p.name}") for p in network.get_parameters()]
    save_checkpoint(
        tmp_path / "best.ckpt", [*network.get_parameters(), *averages], card.to_metadata() | {"weights": "ema"}
    )
    grey = load_pretrained(str(tmp_path / "best.ckpt"), input_channels=1)
    stem = "backbone.features.conv0.weight"
    expected = (2 * network.backbone.features.conv0.weight.asnumpy() + 1).sum(1, keepdims=True)
    np.testing.assert_allclose(grey.arrays[stem], expected, rtol=1e-5)
    own = DenseNet(model_card_of(grey).architecture)
    load_weights(own, grey)
    np.testing.assert_array_equal(own.head.fc.weight.asnumpy(), 2 * network.head.fc.weight.asnumpy() + 1)


@pytest.mark.usefixtures("hub")
def test_grey_pictures_get_the_sums_over_the_colours():
    grey, colours = load(input_channels=1), load()
    stem = "backbone.features.conv0.weight"
    np.testing.assert_allclose(grey.arrays[stem], colours.arrays[stem].sum(1, keepdims=True), rtol=1e-6)
    card = model_card_of(grey)
    assert (card.architecture.input_channels, card.preprocessing.mean) == (1, (0.449,))


def test_what_is_in_the_cache_is_not_fetched_again_and_needs_no_connection(hub, monkeypatch):
    load()
    first = len(hub.asked)
    load()
    assert not [path for _, path, _ in hub.asked[first:] if path.startswith("/content")]
    hub.faults |= {"config.json": "503", "model.safetensors": "503"}
    assert len(load().arrays) > 10
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    before = len(hub.asked)
    assert len(load().arrays) > 10
    assert len(hub.asked) == before


def test_without_a_connection_and_without_a_cache(hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ReportedError, match=rf"^{RA}: HF_HUB_OFFLINE is set and {RA} is not in the cache .*/cache; "):
        load()
    assert not hub.asked


def test_the_token_is_sent_to_the_hub_alone(hub, monkeypatch):
    hub.gated.add(RA)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(ReportedError, match=rf"^{RA}: its authors give access on request; ask at {hub.url}/{RA}, and"):
        load()
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
    load()
    assert {token for _, path, token in hub.asked if "/resolve/" in path} == {None, "Bearer hf_of_a_test"}
    assert {token for _, path, token in hub.asked if path.startswith("/content/")} == {None}


FAULTS = {
    "cut": r"it could not be fetched from http://127\.0\.0\.1:\d+ \(.*\); run the command again",
    "short": r"it could not be fetched from .*Consistency check failed: file should be of size .*; run the command",
    "stall": r"it could not be fetched from .*; run the command again",
    "flipped": r"model\.safetensors has the SHA-256 .*: it was damaged on the way or in the cache and is removed from",
    "503": r"http://127\.0\.0\.1:\d+ does not answer as a hub \(.*503.*\) and .* is not in the cache",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_goes_wrong_on_the_way(fault, hub, tmp_path, capsys):
    """One sentence, exit status 1, and nothing damaged is used then or later."""
    hub.faults["model.safetensors"] = fault
    arguments = [RA, str(tmp_path / "new.ckpt"), "--net", "densenet121"]
    assert run(convert_weights.main, arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {RA}: ")
    assert re.search(FAULTS[fault], line)
    assert not (tmp_path / "new.ckpt").exists()
    hub.faults.clear()
    assert run(convert_weights.main, arguments) == 0
    assert model_card_of(load_checkpoint(tmp_path / "new.ckpt")).preprocessing.interpolation == "bicubic"


def damage_in_the_cache(path: Path) -> None:
    place = path.resolve()
    place.write_bytes(place.read_bytes()[:-1] + b"\xff")


@pytest.mark.usefixtures("hub")
def test_what_was_damaged_in_the_cache_is_found_and_fetched_again():
    damage_in_the_cache(fetch(hub_name(RA)).weights)
    with pytest.raises(ReportedError, match=r"was damaged on the way or in the cache and is removed from there"):
        load()
    assert len(load().arrays) > 10


CONTENTS = {
    "no repository": (None, r"^hf://me/x: there is no repository me/x at http://127.*, or it is private; correct"),
    "a pickle": (
        {"pytorch_model.bin": b"x"},
        r"^hf://me/x: the repository me/x holds no model\.safetensors, only pytorch_model\.bin, and pickles from the",
    ),
    "nothing": ({"README.md": b"x"}, r"holds no model\.safetensors; name another repository"),
    "no safetensors": (
        {"model.safetensors": b"\xff" * 20_000},
        r"model\.safetensors cannot be read as safetensors: .*; it is removed from the cache$",
    ),
    "no JSON": (
        {"config.json": b"["},
        r"config\.json is not JSON \(.*\); expected timm's config\.json; it is removed from the cache$",
    ),
    "a resnet described": (
        {"config.json": b'{"architecture": "resnet50"}'},
        r"^hf://me/x: its config\.json describes the network resnet50, expected one such as densenet121; choose",
    ),
    "a blurred one": (
        {"config.json": b'{"architecture": "densenet121", "model_args": {"aa_layer": "blurpool"}}'},
        r"describes a network with aa_layer, which this project's networks do not have",
    ),
}


@pytest.mark.parametrize("content", CONTENTS)
def test_what_a_repository_may_not_be(content, hub):
    held, message = CONTENTS[content]
    if held is not None:
        hub.repositories["me/x"] = held
    with pytest.raises(ReportedError, match=message) as error:
        load("hf://me/x")
    assert type(error.value) is not UsageError
    assert not [path for _, path, _ in hub.asked if path.startswith("/content") and "JSON" in content]


def test_a_resnets_weights_without_a_description(hub, tmp_path):
    write_safetensors(tmp_path / "model.safetensors", {"layer1.0.conv1.weight": np.zeros((64, 64, 3, 3), np.float32)})
    hub.repositories["me/x"] = {"model.safetensors": (tmp_path / "model.safetensors").read_bytes()}
    with pytest.raises(ReportedError, match=r"these are not the weights of a DenseNet classifier: features\.conv0\.we"):
        load("hf://me/x")


@pytest.mark.usefixtures("hub")
def test_without_a_server(monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    )
    with pytest.raises(ReportedError, match=r"http://127\.0\.0\.1:9 does not answer as a hub \(.*\) and .* is not in "):
        load()


@pytest.mark.slow
def test_a_name_is_all_a_person_types(hub, forked, tmp_path, monkeypatch):
    """In a process whose client reads the environment: the network, its sizes and the geometry follow from the name."""
    write_pictures(tmp_path / "pictures", ("ant", "bee"), 6)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    flags = ["--train_pretrained", RA, "--reset_head", "--dataset", "folder", "--train_data_dir", tmp_path / "pictures"]
    small = ["--max_epoch", "1", "--per_batch_size", "4", "--image_size", "32", "--save_ckpt_path", tmp_path / "out"]
    done = forked.run("train", [*flags, "--net", "densenet121", *small], tmp_path)
    assert done.returncode == 0, done.stderr
    (run_folder,) = (tmp_path / "out").iterdir()
    log = (run_folder / "train_rank0.log").read_text() if (run_folder / "train_rank0.log").exists() else done.stdout
    assert f"weights of {RA}: {RA} on the Hugging Face hub, SHA-256" in log
    card = model_card_of(load_checkpoint(next(run_folder.glob("0-1_*.ckpt"))))
    assert card.architecture.to_dict() | {"num_classes": 5} == model_card_of(load()).architecture.to_dict()
    assert card.preprocessing.shape_in_words() == "3 x 32 x 32 (shorter side to 32, bicubic)"
    assert card.class_names == ("ant", "bee")
