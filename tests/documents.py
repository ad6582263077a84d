"""The documents of this project and what they show: pages, fenced blocks, commands, links, headings."""

import ast
import re
import shlex
from dataclasses import dataclass
from itertools import dropwhile

from commands import ROOT

from src.schema.options import COMMANDS

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"([A-Z_]+=\S+ )*(python|bash|pip|source) ")
_ASSIGNMENT = re.compile(r"[A-Z_]+=")
FOR_DEVELOPERS = ("docs/architecture.md", "docs/kernels.md", "docs/scaling.md")  # in English only
_FOUND = sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))
PAIRS = {"README.md": "README_CN.md", "ascend310_infer/README.md": "ascend310_infer/README_CN.md"} | {
    page: page.replace("docs/", "docs/zh/") for page in _FOUND if page not in FOR_DEVELOPERS
}
PAGES = [*PAIRS, *PAIRS.values(), *FOR_DEVELOPERS]


def text_of(document: str) -> str:
    return (ROOT / document).read_text("utf-8")


def prose(document: str) -> str:
    """A Markdown file without its fenced blocks."""
    return _FENCE.sub("", text_of(document))


def blocks(document: str, language: str) -> list[str]:
    """The fenced blocks in `language` of a Markdown file."""
    return [text for found, text in _FENCE.findall(text_of(document)) if found == language]


def sections(document: str) -> list[tuple[str, str]]:
    """Each heading of a Markdown file, with its #, and the prose below it."""
    parts = re.split(r"^(#+ .*)$", prose(document), flags=re.MULTILINE)
    return list(zip(parts[1::2], parts[2::2], strict=True))


def links(document: str) -> list[str]:
    """The targets of the links and pictures that are not on the web."""
    return re.findall(r"\]\((?!https?:)(.*?)\)", prose(document))


def anchors(document: str) -> set[str]:
    """What `#...` may name in a Markdown file: its headings as GitHub writes them."""
    titles = [heading.lstrip("#").strip().lower() for heading, _ in sections(document)]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


@dataclass(frozen=True)
class Command:
    """One command line and the document that shows it."""

    document: str
    line: str

    def words(self) -> list[str]:
        """As a shell would split it, variables set in front left out; what follows a `#` is a comment."""
        return list(dropwhile(_ASSIGNMENT.match, shlex.split(self.line, comments=True)))

    def __str__(self) -> str:
        return f"{self.document}: {self.line}"


def _joined(text: str) -> list[str]:
    """The lines of `text` that are not empty, continued ones (ending in a backslash) put together."""
    return [line.strip() for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def _shown_lines(document: str) -> list[str]:
    """The lines among which the commands of a document are; in Markdown all of them are commands."""
    path = ROOT / document
    if path.suffix == ".md":
        return [line for block in blocks(document, "bash") for line in _joined(block)]
    text = text_of(document)
    if path.suffix == ".py":
        lines = _joined(ast.get_docstring(ast.parse(text)))
    else:  # a script or YAML file: the comment at its top
        header = re.match(r"(#.*\n)+", text).group()
        lines = _joined(re.sub(r"^# ?", "", header, flags=re.MULTILINE))
    commands = [line for line in lines if _COMMAND.match(line)]
    return [re.split(r"\s{3,}", line)[0] for line in commands]  # an explanation may stand on the right


def commands(document: str) -> list[Command]:
    return [Command(document, line) for line in _shown_lines(document)]


def documents() -> list[str]:
    """All that show commands: pages, scripts and configurations."""
    found = [*ROOT.glob("scripts/*.sh"), *ROOT.glob("scripts/*.py"), *ROOT.glob("*_config.yaml")]
    names = [str(path.relative_to(ROOT)) for path in sorted(found) if path.name != "common.sh"]
    tools = ["postprocess.py", "src/deploy/convert_weights.py", "src/deploy/write_labels.py", "src/ops/build.py"]
    pages = [page for page in PAGES if page.startswith(("README", "docs")) and blocks(page, "bash")]
    return [*pages, *(f"{name}.py" for name in COMMANDS), *tools, *names]
