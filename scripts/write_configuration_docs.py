"""Write the tables of docs/configuration.md and docs/zh/configuration.md from the schema.

python scripts/write_configuration_docs.py

After a key is added or changed; the Chinese texts are in docs/zh/keys.yaml.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from src.model_utils.config import parse
from src.schema.options import INTS, OPTIONS, Option
from src.utils.errors import ReportedError, UsageError, run

CHINESE = ROOT / "docs/zh/keys.yaml"
BEGIN = "<!-- from here on made by scripts/write_configuration_docs.py -->"
_NETS = ("densenet121", "densenet100")
_TYPES = {str: "text", int: "whole number", float: "number", bool: "true, false", INTS: "whole numbers: 1,2,3"}


def _shown(value: object) -> str:
    """A default as one would type it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _values(option: Option, translate: Callable[[str], str]) -> str:
    """What the key accepts: its choices, or its type and bounds."""
    if option.choices:
        return ", ".join(_code(str(choice)) for choice in option.choices)
    signs = (("≥", option.ge), (">", option.gt), ("≤", option.le), ("<", option.lt))
    bounds = ", ".join(f"{sign} {bound:g}" for sign, bound in signs if bound is not None)
    return ", ".join(filter(None, [translate(_TYPES[option.type]), bounds]))


def tables(translate: Callable[[str], str], meaning: Callable[[Option], str]) -> str:
    """One section and table for each group of keys, in the schema's order.

    translate: a heading, type or group into the document's language; meaning: a key's help in that language.
    """
    # a run that is resumed need not name its data
    configs = [vars(parse("train", ["--net", net, "--resume", "auto"])) | {"resume": ""} for net in _NETS]
    heads = ["Key", "Values", "DenseNet-121 and larger", "DenseNet-100", "Used by", "Meaning"]
    head = ["| " + " | ".join(map(translate, heads)) + " |", "|---" * len(heads) + "|"]
    lines = []
    for group in dict.fromkeys(option.group for option in OPTIONS):
        lines += [f"## {translate(group.capitalize())}", "", *head]
        for option in OPTIONS:
            if option.group == group:
                defaults = [_shown(config[option.name]) for config in configs]
                cells = [_code(option.name), _values(option, translate), *map(_code, defaults)]
                cells += [" ".join(option.commands), meaning(option)]
                lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _chinese() -> tuple[Callable[[str], str], Callable[[Option], str]]:
    """As `tables` takes them. Raises ReportedError for a key whose help is not the one that was translated."""
    known = yaml.safe_load(CHINESE.read_text("utf-8"))
    keys = known["keys"]
    stale = [option.name for option in OPTIONS if keys.get(option.name, {}).get("en") != option.help]
    surplus = sorted(keys.keys() - {option.name for option in OPTIONS})
    if stale or surplus:
        raise ReportedError(
            f"{CHINESE.relative_to(ROOT)} translates another help than the schema's of {', '.join(stale) or 'no key'}, "
            f"and knows {', '.join(surplus) or 'nothing'} besides; give en, the schema's help, and zh for each key"
        )
    return known["words"].__getitem__, lambda option: keys[option.name]["zh"]


def documents() -> dict[Path, str]:
    """Each document's path and whole text: what is written by hand, to the mark, and the tables."""
    versions = {"docs/configuration.md": (str, lambda option: option.help)}
    versions["docs/zh/configuration.md"] = _chinese()
    texts = {}
    for name, (translate, meaning) in versions.items():
        path = ROOT / name
        by_hand, mark, _ = path.read_text("utf-8").partition(BEGIN)
        if not mark:
            raise ReportedError(f"{name} has no line {BEGIN!r}, behind which the tables go")
        texts[path] = f"{by_hand}{BEGIN}\n\n{tables(translate, meaning)}"
    return texts


def main(argv: Sequence[str]) -> None:
    """Write both documents."""
    if argv:
        raise UsageError("usage: python scripts/write_configuration_docs.py")
    for path, text in documents().items():
        path.write_text(text, "utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    sys.exit(run(main))
