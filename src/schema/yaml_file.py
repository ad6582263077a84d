"""Configuration files: a flat YAML mapping of known keys, read strictly and written so that it reads back the same."""

import textwrap
from collections.abc import Mapping
from pathlib import Path

import yaml

from src.schema.aliases import advice
from src.schema.options import BY_NAME, OPTIONS, Value
from src.schema.values import parse_value, show
from src.utils.errors import UsageError
from src.utils.files import write_text_atomically
from src.utils.outside import open_outside

MAX_BYTES = 2**16
MAX_DEPTH = 20  # a configuration needs 2
_TAG = "tag:yaml.org,2002:"
# Of scalars that are plain text; seq and map are lists and mappings, all others make objects.
_PLAIN_TAGS = {_TAG + name for name in ("str", "int", "float", "bool", "null", "timestamp", "merge", "value")}


def read_yaml(path: str | Path) -> dict[str, Value]:
    """The typed values in the file, in its order.

    Only the tree of YAML nodes is built and never an object, so tags can make nothing happen, an alias costs nothing
    however often it is nested, and a scalar means what the same text means as a flag: 1e-5 is a number, 010 is ten.
    Raises UsageError naming file, line, key and value.
    """
    root = _compose(path)
    if not isinstance(root, yaml.MappingNode) or root.tag != _TAG + "map":
        raise UsageError(f"{path}: found {_describe(root)}, expected lines such as `lr: 0.1`; correct the file")
    values: dict[str, Value] = {}
    for key_node, value_node in root.value:
        place = f"{path}, line {key_node.start_mark.line + 1}"
        key = key_node.value if isinstance(key_node, yaml.ScalarNode) and key_node.tag in _PLAIN_TAGS else None
        if key not in BY_NAME:
            remedy = advice(key or "", prefix="")
            name = f"unknown key {show(key)}" if key is not None else f"{_describe(key_node)} as a key"
            raise UsageError(f"{place}: found {name} with value {_describe(value_node)}, {remedy}")
        if key in values:
            raise UsageError(
                f"{place}: {key} is given a second time, as {_describe(value_node)}; remove one of the two"
            )
        if not BY_NAME[key].in_yaml:
            raise UsageError(
                f"{place}: found {key} with value {_describe(value_node)}, which only works as the flag --{key}; "
                "remove the line"
            )
        values[key] = parse_value(BY_NAME[key], _text(value_node, f"{place}: {key}"), f"{place}: {key}")
    return values


def write_yaml(path: Path, values: Mapping[str, Value], comment: str) -> None:
    """Write the values that are saved, under a heading per group, so that the file is either whole or not there.

    Raises ReportedError when the folder cannot be written to.
    """
    lines = [f"# {line}" for line in comment.splitlines()]
    group = None
    for option in OPTIONS:
        if option.saved:
            if option.group != group:
                group = option.group
                lines += ["", f"# {group}"]
            lines.append(_line(option.name, values[option.name]))
    write_text_atomically(path, "\n".join(lines) + "\n")


def _compose(path: str | Path) -> yaml.Node:
    """The root node of the only document in the file."""
    try:
        with open_outside(path) as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise UsageError(f"{path}: found more than {MAX_BYTES} bytes, expected a configuration; give another file")
        text = data.decode("utf-8-sig")
        _refuse_deep_nesting(path, text)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except FileNotFoundError:
        raise UsageError(
            f"{path}: found no such file, expected a YAML file; give another one with --config_path"
        ) from None
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read ({error.strerror}), expected a YAML file; give another one with --config_path"
        ) from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"{path}, line {line}: found byte 0x{data[error.start]:02x}, expected text in UTF-8; save the file as UTF-8"
        ) from None
    except yaml.reader.ReaderError as error:
        raise UsageError(f"{path}: found character #x{error.character:04x}, expected a text file in YAML") from None
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        problem = textwrap.shorten(" ".join(filter(None, (error.context, error.problem))), 200)
        raise UsageError(f"{path}{line}: found a syntax error ({problem}), expected YAML; correct the file") from None
    except (ValueError, OverflowError):  # PyYAML's own on escapes and versions whose number is out of range
        raise UsageError(f"{path}: found a number out of range in an escape or directive; correct the file") from None
    if root is None:
        raise UsageError(f"{path}: found no keys at all, expected lines such as `lr: 0.1`; give another file")
    return root


def _refuse_deep_nesting(path: str | Path, text: str) -> None:
    """Composing recurses into nested lists, events do not: look at these first."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            line = event.start_mark.line + 1
            raise UsageError(
                f"{path}, line {line}: found lists {depth} deep, expected `key: value` lines; correct the file"
            )


def _text(node: yaml.Node, where: str) -> str | list[str]:
    """The scalar's text, or the texts of a flat list."""
    is_list = isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq"
    items = node.value if is_list else [node]
    for item in items:
        if item.tag not in _PLAIN_TAGS or not isinstance(item, yaml.ScalarNode):
            raise UsageError(f"{where}: found {_describe(item)}, expected a plain value or a list of them")
        if item.tag == _TAG + "null":
            raise UsageError(f"{where}: found no value, expected one; write '' for an empty text, or remove the line")
    return [item.value for item in items] if is_list else node.value


def _describe(node: yaml.Node) -> str:
    if node.tag not in _PLAIN_TAGS | {_TAG + "seq", _TAG + "map"}:
        return f"the tag {show(node.tag.replace(_TAG, '!!'))}"
    if isinstance(node, yaml.ScalarNode):
        return show(node.value)
    return "a mapping" if isinstance(node, yaml.MappingNode) else "a list"


def _line(name: str, value: Value) -> str:
    if isinstance(value, tuple):
        return f"{name}: [{', '.join(map(str, value))}]"
    # PyYAML's other styles lose U+0085 (next line), which it may write in single quotes.
    style = '"' if isinstance(value, str) and not value.isprintable() else None
    return yaml.safe_dump({name: value}, allow_unicode=True, width=float("inf"), default_style=style).rstrip("\n")
