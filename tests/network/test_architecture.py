import json

import pytest

from src.network.architecture import NETWORKS, Architecture, architecture
from src.utils.errors import ReportedError, UsageError

GOOD = architecture("densenet121", 10).to_dict()


def test_survives_json():
    for net in NETWORKS:
        arch = architecture(net, 7, drop_rate=0.2, transition_pool="max", stem_pool="same")
        assert Architecture.from_dict(json.loads(json.dumps(arch.to_dict()))) == arch


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"net": "densenet122"}, "net is 'densenet122', expected one of densenet100, densenet121"),
        ({"net": ["densenet121"]}, "net is ['densenet121']"),
        ({"num_classes": 0}, "num_classes is 0, expected an integer from 1 to 1000000"),
        ({"num_classes": True}, "num_classes is True"),
        ({"num_classes": "10"}, "num_classes is '10'"),
        ({"growth_rate": 10**12}, "growth_rate is 1000000000000, expected an integer from 1 to 512"),
        ({"growth_rate": 12.0}, "growth_rate is 12.0"),
        ({"block_config": []}, "block_config is (), expected 1 to 8 integers from 1 to 256"),
        ({"block_config": [6, 0]}, "block_config is (6, 0)"),
        ({"block_config": 6}, "block_config is 6"),
        ({"stem": None}, "stem is None, expected conv7x7 or conv3x3"),
        ({"stem_features": -1}, "stem_features is -1"),
        ({"bn_size": 0}, "bn_size is 0"),
        ({"compression": 0.0}, "compression is 0.0, expected a number from 0.001 to 1"),
        ({"compression": float("nan")}, "compression is nan"),
        ({"drop_rate": 1.0}, "drop_rate is 1.0"),
        ({"transition_pool": "median"}, "transition_pool is 'median', expected avg or max"),
        ({"stem_pool": {}}, "stem_pool is {}, expected pad or same"),
        ({"activation": "gelu"}, "unknown fields ['activation']"),
    ],
)
def test_rejects_what_a_damaged_checkpoint_may_hold(change, message):
    with pytest.raises(ReportedError) as error:
        Architecture.from_dict(GOOD | change)
    assert message in str(error.value)


def test_rejects_missing_fields_and_other_types():
    with pytest.raises(ReportedError, match=r"missing fields \['stem'\]"):
        Architecture.from_dict({name: value for name, value in GOOD.items() if name != "stem"})
    with pytest.raises(ReportedError, match="found list, expected a mapping"):
        Architecture.from_dict([])


def test_overrides_replace_the_named_networks_fields():
    arch = architecture("densenet161", 3, growth_rate=8, compression=1)
    assert (arch.growth_rate, arch.block_config, arch.stem_features, arch.compression) == (8, (6, 12, 36, 24), 96, 1)
    with pytest.raises(ReportedError, match="net is 'resnet50', expected one of densenet100"):
        architecture("resnet50", 10)


@pytest.mark.parametrize(
    ("net", "image_size", "expected"),
    [("densenet100", 32, 8), ("densenet100", 4, 1), ("densenet121", 224, 7), ("densenet121", 29, 1)],
)
def test_feature_size(net, image_size, expected):
    assert architecture(net, 10).feature_size(image_size) == expected
    smallest = 4 if net == "densenet100" else 29
    with pytest.raises(ReportedError, match=f"image_size is {smallest - 1}: .* leave no pixel of it"):
        architecture(net, 10).feature_size(smallest - 1)


@pytest.mark.parametrize(
    ("net", "image_size", "images", "fits"),
    [
        ("densenet121", 32, 1, False),
        ("densenet121", 63, 1, True),
        ("densenet121", 64, 1, True),
        ("densenet121", 32, 2, True),
        ("densenet100", 4, 1, False),
        ("densenet100", 7, 1, False),
        ("densenet100", 8, 1, True),
        ("densenet100", 4, 3, True),
    ],
)
def test_batch_normalisation_needs_two_values_in_each_channel(net, image_size, images, fits):
    arch = architecture(net, 10)
    if fits:
        arch.check_batch(image_size, images)
        return
    with pytest.raises(
        UsageError, match=f"found per_batch_size {images} with image_size {image_size}, of which {net} "
    ):
        arch.check_batch(image_size, images)
