"""What a run takes over from weights that it begins with: pools and normalisation have no shape to be wrong."""

from dataclasses import replace

import pytest
import toy

from src.datasets.preprocessing import default_preprocessing
from src.model_utils.group import ALONE
from src.network.architecture import architecture
from src.training.model_card import ModelCard, warn_of_unsaid_pools
from src.training.pretrained import Pretrained, normalised_as_before, share_pretrained
from src.utils.checkpoint import save_checkpoint
from src.utils.errors import UsageError

CARD = ModelCard(
    architecture("densenet100", 2, transition_pool="max", stem_pool="same"), default_preprocessing("digits"), ("a", "b")
)


@pytest.fixture
def saved(tmp_path):
    """Toy weights that say they are of CARD."""
    save_checkpoint(tmp_path / "own.ckpt", toy.make_step().saved_parameters(), CARD.to_metadata())
    return tmp_path / "own.ckpt"


def test_the_pools_of_the_weights_are_taken_over_or_the_contradiction_is_refused(saved):
    found = share_pretrained(str(saved), ALONE)
    assert found.class_names == ("a", "b")
    pools = {"transition_pool": "max", "stem_pool": "same"}
    assert found.pools({}) == found.pools({"stem_pool": "same", "growth_rate": 8}) == pools
    with pytest.raises(UsageError, match=r"transition_pool is avg, but .*own\.ckpt was made with max; leave --transit"):
        found.pools({"transition_pool": "avg"})


def pretrained(arch=CARD.architecture, preprocessing=CARD.preprocessing) -> Pretrained:
    return Pretrained("own.ckpt", None, ("a", "b"), arch, preprocessing)


def test_the_network_of_the_weights_is_taken_over_where_nothing_else_was_asked_for():
    planned = architecture("densenet121", 1)
    own = architecture("densenet161", 7, drop_rate=0.1, input_channels=1)
    taken = {"net": "densenet161", "growth_rate": 48, "block_config": [6, 12, 36, 24], "stem_features": 96}
    pools = {"transition_pool": "avg", "stem_pool": "pad"}
    assert pretrained(own).network({}, planned) == taken | {"input_channels": 1} | pools
    assert pretrained(own).network({"net": "densenet161"}, own) == pools
    assert "growth_rate" not in pretrained(own).network({"growth_rate": 32}, planned)  # loading says it does not fit
    for asked, message in (
        ({"net": "densenet121"}, r"net is densenet121, but own\.ckpt was made with densenet161; leave --net out"),
        ({"input_channels": 3}, "input_channels is 3, but own.ckpt was made with 1; leave --input_channels out"),
    ):
        with pytest.raises(UsageError, match=message):
            pretrained(own).network(asked, planned)
    assert pretrained(None).network({"net": "densenet121"}, planned) == {}


def test_pictures_are_resized_as_those_that_the_weights_were_trained_on():
    usual = default_preprocessing("folder")
    timms = replace(usual, resize_mode="shorter_side", interpolation="bicubic", resize=248)
    found = pretrained(preprocessing=timms)
    taken = {"resize": "shorter_side", "interpolation": "bicubic", "crop_ratio": 224 / 248}
    assert found.geometry({}, usual, "folder") == taken
    assert default_preprocessing("folder", **taken) == timms
    assert default_preprocessing("folder", 288, **taken) == timms.at(288)
    assert found.geometry({"interpolation": "bilinear", "crop_ratio": 1.0}, usual, "folder") == {
        "resize": "shorter_side"
    }
    small = default_preprocessing("folder", 32)
    assert found.geometry({}, small, "folder") == {"resize": "shorter_side", "interpolation": "bicubic"}
    assert found.geometry({}, default_preprocessing("cifar10"), "cifar10") == {}  # its pictures are the input
    assert pretrained().geometry({}, usual, "folder") == {}
    assert pretrained(preprocessing=usual).geometry({}, usual, "folder") == {}


def test_pictures_are_normalised_as_those_that_the_weights_were_trained_on(saved):
    found, own = share_pretrained(str(saved), ALONE), default_preprocessing("folder", 64)
    taken = normalised_as_before(own, found)
    assert (taken.mean, taken.std) == (CARD.preprocessing.mean, CARD.preprocessing.std) != (own.mean, own.std)
    assert (taken.image_size, taken.resize) == (own.image_size, own.resize)
    assert normalised_as_before(own, None) == own


def test_weights_that_do_not_say_how_they_pool_are_told_of(tmp_path, capsys):
    save_checkpoint(tmp_path / "zoo.ckpt", toy.make_step().saved_parameters(), None)
    found = share_pretrained(str(tmp_path / "zoo.ckpt"), ALONE)
    assert (found.architecture, found.preprocessing, found.pools({"transition_pool": "max"})) == (None, None, {})
    own = default_preprocessing("folder")
    assert normalised_as_before(own, found) == own
    warn_of_unsaid_pools(found.path, "densenet121", {"transition_pool": "max", "stem_pool": "same"})
    warn_of_unsaid_pools(found.path, "densenet100", {})
    assert capsys.readouterr().out == ""
    warn_of_unsaid_pools(found.path, "densenet121", {"transition_pool": "max"})
    assert "zoo.ckpt does not say how its network pools" in capsys.readouterr().out
