"""Names that training frameworks put around a DenseNet's: taken away where only one meaning is possible."""

from collections.abc import Mapping

from src.utils.errors import ReportedError

_FEATURES, _FIRST, _CLASSIFIER = "features.", "conv0.weight", "classifier"


def unwrapped(shapes: Mapping[str, tuple[int, ...]]) -> tuple[dict[str, str], list[str]]:
    """PyTorch's name for each name of `shapes`, and in words what was taken away to get it.

    A prefix of all, such as `module.`; `features.` where a backbone was saved alone; a classifier of another name, if
    it is the only one that can be meant. Raises ReportedError when a file holds several networks.
    """
    stems = [name for name in shapes if name == _FIRST or name.endswith("." + _FIRST)]
    if len(stems) > 1:
        listed = ", ".join(repr(name.removesuffix(_FIRST).removesuffix(_FEATURES)) for name in stems[:5])
        raise ReportedError(f"these are the weights of {len(stems)} networks, of the prefixes {listed}; save one alone")
    names, said = {name: name for name in shapes}, []
    if not stems:
        return names, said
    before = stems[0].removesuffix(_FIRST)
    prefix = before.removesuffix(_FEATURES)
    if before == prefix:  # the features alone
        bare = {name for name in shapes if name.startswith(prefix) and not name.startswith(prefix + _CLASSIFIER)}
        names = {name: _FEATURES + name.removeprefix(prefix) if name in bare else name for name in names}
        said.append(f"{_FEATURES!r} was put before the names")
    if prefix:
        names = {name: new.removeprefix(prefix) for name, new in names.items()}
        said.append(f"the prefix {prefix!r} was taken away")
    if len(set(names.values())) < len(names):
        raise ReportedError(f"two arrays have the same name without the prefix {prefix!r}; save the network alone")
    return _with_classifier(names, shapes, said)


def _with_classifier(
    names: dict[str, str], shapes: Mapping[str, tuple[int, ...]], said: list[str]
) -> tuple[dict[str, str], list[str]]:
    """A layer of another name as the classifier, such as the `classifier.1` of one with dropout before it."""
    own = {new: name for name, new in names.items()}
    layers = [
        new.removesuffix(".weight")
        for new, name in own.items()
        if new.endswith(".weight") and len(shapes[name]) == 2 and not new.startswith(_FEATURES)
    ]
    if len(layers) == 1 and layers[0] != _CLASSIFIER and f"{layers[0]}.bias" in own:
        for leaf in ("weight", "bias"):
            names[own[f"{layers[0]}.{leaf}"]] = f"{_CLASSIFIER}.{leaf}"
        said.append(f"{layers[0]!r} is the {_CLASSIFIER}")
    return names, said
