"""What the keys of network and input do in training, and for files without metadata: on the same training runs."""

import json
from pathlib import Path

import mindspore as ms
import pytest
from commands import NETWORK
from keys.key_tables import OF_THE_COMPUTATION, TRAIN, ZOO, ZOO_STEM, assert_the_key_does_something
from keys.runs import predictions

from src.utils.checkpoint import METADATA_KEY
from src.utils.errors import ReportedError

pytestmark = pytest.mark.slow
INPUT = ("image_size", "resize", "interpolation", "crop_ratio")  # which fit any network
DIGITS = [*NETWORK, "--dataset", "digits", "--image_size", "8"]  # what describes the network and its input


@pytest.mark.parametrize("row", [row for row in TRAIN if row[0] in ZOO], ids=lambda row: row[0])
def test_train(row, trained, planned):
    assert_the_key_does_something(row, trained if row[3][0] in OF_THE_COMPUTATION else planned)


def without_metadata(checkpoint: Path, target: Path) -> Path:
    """The same weights as a model zoo would give them."""
    loaded = ms.load_checkpoint(str(checkpoint))
    assert json.loads(loaded.pop(METADATA_KEY))
    ms.save_checkpoint([{"name": name, "data": value} for name, value in loaded.items()], str(target))
    return target


@pytest.mark.parametrize("key", [*ZOO, "dataset"])
def test_export_of_a_file_without_metadata(key, planned, described, tmp_path):
    """With the flag, the network and input of the file that describes itself; without it, others or none."""
    common = ZOO_STEM if key == "stem_pool" else ""
    flag = ZOO.get(key, "--dataset digits")
    result = planned(f"{common} {ZOO.get(key, '')}".strip())
    own = described(result.last)[0]
    zoo = without_metadata(result.last, tmp_path / "zoo.ckpt")
    usual = [*DIGITS, *common.split()]
    given = described(zoo, *usual, *flag.split())[0]
    assert (given.architecture, given.preprocessing) == (own.architecture, own.preprocessing)
    assert given.class_names == tuple(f"class_{i}" for i in range(own.architecture.num_classes))
    other = {"num_classes": ["--num_classes", "3"], "dataset": ["--dataset", "cifar10"]}.get(key, [])
    try:
        without = described(zoo, *usual, *other)[0]
        assert (without.architecture, without.preprocessing) != (own.architecture, own.preprocessing)
    except ReportedError as error:
        assert "does not fit the network" in str(error)
        assert key not in (*INPUT, "transition_pool", "stem_pool", "dataset")


def test_the_classes_of_a_file_without_metadata_are_counted(planned, described, tmp_path):
    zoo = without_metadata(planned("--num_classes 12").last, tmp_path / "zoo.ckpt")
    assert described(zoo, *DIGITS)[0].architecture.num_classes == 12


@pytest.mark.parametrize("key", ZOO)
def test_eval_of_a_file_without_metadata(key, planned, tmp_path):
    """With the flag, the answers of the file that describes itself; without it, others or none."""
    common = ZOO_STEM if key == "stem_pool" else ""
    result = planned(f"{common} {ZOO[key]}".strip())
    for name in ("described", "with", "without"):
        (tmp_path / name).mkdir()
    described = predictions(result.last, tmp_path / "described")
    zoo = without_metadata(result.last, tmp_path / "zoo.ckpt")
    usual = [*DIGITS, *common.split()]
    assert predictions(zoo, tmp_path / "with", *usual, *ZOO[key].split()) == described
    try:
        assert predictions(zoo, tmp_path / "without", *usual) != described
    except ReportedError as error:
        assert "does not fit the network" in str(error)
        assert key not in (*INPUT, "transition_pool", "stem_pool")
