"""One name for each output of a network, also where nobody knows what the output stands for."""

from collections.abc import Sequence

from src.utils.errors import ReportedError


def fill_class_names(class_names: tuple[str, ...], num_classes: int) -> tuple[str, ...]:
    """One name for each output of the network: the data set's, then `unused_N` for outputs it has no class for.

    num_classes 0 means as many as the data set has. Raises ReportedError when the data set has more.
    """
    if num_classes and len(class_names) > num_classes:
        raise ReportedError(
            f"num_classes is {num_classes}, but the data set has {len(class_names)} classes; "
            f"set --num_classes {len(class_names)}, or 0 for as many as there are"
        )
    return class_names + tuple(f"unused_{i}" for i in range(len(class_names), num_classes))


def used_class_names(class_names: Sequence[str]) -> tuple[str, ...]:
    """The reverse of `fill_class_names`: the names of the data set's own classes."""
    return tuple(name for i, name in enumerate(class_names) if name != f"unused_{i}")


def is_list_of_names(value: object) -> bool:
    """Tell whether `value`, from a file that nobody vouches for, is a list of names that can be printed and written."""
    return isinstance(value, list) and all(isinstance(name, str) and name.isprintable() for name in value)


def unnamed_classes(num_classes: int) -> tuple[str, ...]:
    """Names for weights that come without any: class_0, class_1, ..."""
    return tuple(f"class_{i}" for i in range(num_classes))


def are_unnamed(class_names: Sequence[str]) -> bool:
    """Tell whether these are the names of `unnamed_classes`."""
    return tuple(class_names) == unnamed_classes(len(class_names))
