"""What a checkpoint says of its network: taken as it is, or refused where it contradicts itself or its user."""

from pathlib import Path

import pytest

from src.datasets.preprocessing import default_preprocessing
from src.network.architecture import architecture
from src.training.model_card import ModelCard, class_names_of, model_card_as_asked, model_card_of, pools_as_asked
from src.utils.checkpoint import Checkpoint
from src.utils.checkpoint_arrays import Arrays
from src.utils.checkpoint_format import Entry
from src.utils.errors import ReportedError, UsageError

ARCHITECTURE = architecture("densenet100", 3, block_config=(1, 1), growth_rate=4, stem_features=8)
PREPROCESSING = default_preprocessing("folder", 64, crop_ratio=0.875)
METADATA = {
    "architecture": ARCHITECTURE.to_dict(),
    "preprocessing": PREPROCESSING.to_dict(),
    "class_names": ["cat", "dog", "塔"],
}


def checkpoint(**changes) -> Checkpoint:
    """One that holds as many numbers as the network has parameters, with some entries of its metadata changed."""
    entries = {"all": Entry("Float32", (ARCHITECTURE.num_parameters,), ())}
    return Checkpoint(Path("a.ckpt"), Arrays(Path("a.ckpt"), None, entries), METADATA | changes)


def test_the_card_is_read_from_the_checkpoint():
    expected = ModelCard(ARCHITECTURE, PREPROCESSING, ("cat", "dog", "塔"))
    assert model_card_of(checkpoint()) == expected
    assert model_card_as_asked(checkpoint(), {}, 0) == expected
    assert (
        model_card_as_asked(checkpoint(), {"net": "densenet100", "num_classes": 3, "block_config": (1, 1)}, 64)
        == expected
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": "cat"}, "a.ckpt carries class_names that are not a list of names"),
        ({"class_names": []}, "not a list of names"),
        ({"class_names": ["cat", "dog", "\ud800"]}, "not a list of names"),
        ({"class_names": ["cat", "dog", "\x1b[31m"]}, "not a list of names"),
        ({"class_names": ["cat", "dog"]}, "a.ckpt carries 2 class_names for 3 classes"),
        (
            {"architecture": ARCHITECTURE.to_dict() | {"growth_rate": 5}},
            r"describes a network of [\d,]+ parameters, bu",
        ),
        ({"architecture": None}, "network architecture: found NoneType"),
        ({"temperature": -1}, "a.ckpt carries the temperature -1, expected a positive number"),
        ({"temperature": [2]}, "a.ckpt carries the temperature "),
        ({"preprocessing": {}}, "the preprocessing should hold image_size"),
        ({"preprocessing": default_preprocessing("folder", 1).to_dict()}, "image_size is 1: the pools of densenet100"),
        (
            {"preprocessing": PREPROCESSING.grey().to_dict()},
            "the network takes 3 channels, but its preprocessing makes 1; use another copy",
        ),
        (
            {"preprocessing": PREPROCESSING.to_dict() | {"mean": [0.5, 0.5], "std": [0.2, 0.2]}},
            "mean should be three numbers between 0 and 1, or one for grey",
        ),
        (
            {"preprocessing": PREPROCESSING.to_dict() | {"std": [0.2]}},
            "mean and std should be of as many channels",
        ),
        ({"architecture": ARCHITECTURE.to_dict() | {"input_channels": 1}}, "takes 1 channels, but its preprocessing"),
        ({"architecture": ARCHITECTURE.to_dict() | {"input_channels": 2}}, "input_channels is 2, expected 3 or 1"),
        ({"architecture": ARCHITECTURE.to_dict() | {"input_channels": True}}, "input_channels is True, expected 3 or"),
        ({"task": "several"}, "a.ckpt carries a task that is none of single, multilabel"),
    ],
)
def test_contradictions_are_refused(changes, message):
    with pytest.raises(ReportedError, match=message):
        model_card_of(checkpoint(**changes))


@pytest.mark.parametrize("key", ["architecture", "preprocessing", "class_names"])
def test_what_is_missing_is_named(key):
    values = {name: value for name, value in METADATA.items() if name != key}
    with pytest.raises(ReportedError, match=f"a.ckpt carries no {key}: it was not written by this project's train.py"):
        model_card_of(Checkpoint(Path("a.ckpt"), checkpoint().arrays, values))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"net": "densenet121"}, "net is densenet121, but a.ckpt was made with densenet100; leave --net out"),
        ({"num_classes": 4}, "num_classes is 4, but a.ckpt was made with 3; leave --num_classes out"),
        (
            {"net": "densenet100", "block_config": (1, 2)},
            r"block_config is \(1, 2\), but a.ckpt was made with \(1, 1\)",
        ),
        ({"stem_pool": "same"}, "stem_pool is same, but a.ckpt was made with pad; leave --stem_pool out"),
        ({"input_channels": 1}, "input_channels is 1, but a.ckpt was made with 3; leave --input_channels out"),
    ],
)
def test_another_network_than_asked_for_is_refused(asked, message):
    with pytest.raises(UsageError, match=message):
        model_card_as_asked(checkpoint(), asked, 0)


def test_another_input_size_keeps_the_share_of_the_picture():
    assert (PREPROCESSING.image_size, PREPROCESSING.resize) == (64, 73)
    card = model_card_as_asked(checkpoint(), {}, 128)
    assert (card.preprocessing.image_size, card.preprocessing.resize) == (128, 146)
    assert (card.architecture, card.preprocessing.mean) == (ARCHITECTURE, PREPROCESSING.mean)


def test_an_input_that_is_too_small_is_refused():
    with pytest.raises(
        ReportedError, match="image_size is 1: the pools of densenet100 with 2 dense blocks leave no pix"
    ):
        model_card_as_asked(checkpoint(), {}, 1)


def test_class_names_alone():
    assert class_names_of(checkpoint()) == ("cat", "dog", "塔")


@pytest.mark.parametrize(("key", "value", "own"), [("input_channels", 1, 3), ("transition_pool", "max", "avg")])
def test_a_run_goes_on_with_the_input_and_the_pools_it_has(key, value, own):
    """What is of another shape besides, loading says."""
    message = f"{key} is {value}, but a.ckpt was made with {own}; leave --{key} out"
    with pytest.raises(UsageError, match=message):
        pools_as_asked("a.ckpt", ARCHITECTURE.to_dict(), {key: value, "growth_rate": 99})
    pools_as_asked("a.ckpt", ARCHITECTURE.to_dict(), {key: own, "growth_rate": 99})
