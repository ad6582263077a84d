"""The entry point of MindSpore Hub.

mindspore_hub.load(UID)                                                      a network with its pretrained weights
mindspore_hub.load(UID, num_classes=10, pretrained=False)                    the same for other classes
mindspore_hub.load(UID, 1000, transition_pool="max", stem_pool="same")       as the model zoo's weights need it
"""

from mindspore import nn

from src.network.densenet import NETWORKS, DenseNet, architecture


def create_network(name: str, *args: object, **kwargs: object) -> nn.Cell:
    """The network `name`: densenet100, densenet121, densenet161, densenet169 or densenet201.

    Takes num_classes (usually 1000, for densenet100 10), include_top (False: features instead of logits) and fields of
    `src.network.architecture.Architecture`. Raises NotImplementedError for another name, as Hub expects, and
    ReportedError for a field's value that is out of range.
    """
    if name not in NETWORKS:
        raise NotImplementedError(f"{name} is not implemented in the repo; it has {', '.join(NETWORKS)}")
    return _network(name, *args, **kwargs)


def _network(name: str, num_classes: int = 0, include_top: bool = True, **fields: object) -> DenseNet:
    usual = 10 if name == "densenet100" else 1000
    return DenseNet(architecture(name, num_classes or usual, **fields), include_top=include_top)
