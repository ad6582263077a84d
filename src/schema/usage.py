"""The text of `--help`: the keys a command uses, by group, with what each accepts and its default."""

import shutil
import textwrap
from collections.abc import Mapping

from src.schema.options import INTS, OPTIONS, Option, Value

_METAVAR = {str: "TEXT", int: "INT", float: "NUMBER", bool: "[true|false]", INTS: "INT,INT,..."}
_INDENT = "  "


def help_text(command: str, description: str, defaults: Mapping[str, Value], yaml_name: str, width: int = 0) -> str:
    """The whole text; the description is shown as it is.

    width: in columns, the terminal's when 0. defaults: the values the command takes from `yaml_name`.
    """
    width = max(40, min(width or shutil.get_terminal_size((100, 24)).columns, 110))
    options = [option for option in OPTIONS if command in option.commands]
    lines = [f"usage: python {command}.py [--key value] ...", ""]
    if description:
        lines += [*textwrap.dedent(description).strip().splitlines(), ""]
    lines += textwrap.wrap(f"Defaults, in brackets, are those of --net {defaults['net']} ({yaml_name}).", width)
    for group in dict.fromkeys(option.group for option in options):
        lines += ["", f"{group}:"]
        for option in options:
            if option.group == group:
                lines += _entry(option, defaults[option.name], width)
    end = "Keys can also be set in a YAML file (--config_path). README.md and README_CN.md have examples."
    lines += ["", *textwrap.wrap(end, width)]
    return "\n".join(lines)


def _entry(option: Option, default: Value, width: int) -> list[str]:
    """Flag on the left and text on the right, or the text below where there is no room beside."""
    flag = f"{_INDENT}--{option.name} {_METAVAR[option.type]}"
    choices = f" ({' | '.join(map(str, option.choices))})" if option.choices else ""
    text = f"{option.help}{choices} [{_shown(default)}]"
    column = 38 if width >= 80 else 6
    lines = [" " * column + line for line in textwrap.wrap(text, width - column, break_on_hyphens=False)]
    if len(flag) + 2 > column:
        return [flag, *lines]
    return [flag.ljust(column) + lines[0][column:], *lines[1:]]


def _shown(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "empty"
    return f"{value:g}" if isinstance(value, float) else str(value) or "empty"
