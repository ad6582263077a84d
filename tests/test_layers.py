"""Arrows between the parts of the code go one way, without circles, and are those that docs/architecture.md draws."""

import ast
import functools
import re
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from commands import ROOT

# From the bottom up: a package imports from rows below its own only.
LAYERS = (
    {"utils"},
    {"datasets", "losses", "lr_scheduler", "ops"},
    {"network", "optimizers"},
    {"schema"},
    {"model_utils"},
    {"training"},
    {"deploy", "launch", "report"},
    {"demo", "doctor"},
    {"commands"},
)
HEIGHT = {package: height for height, layer in enumerate(LAYERS) for package in layer}
COMMANDS = "commands"  # what lies at the top of the repository, and scripts/
ARROW = re.compile(r"^\s*(\w+) --> (.+)$", re.MULTILINE)


def sources(root: Path = ROOT) -> dict[str, str]:
    """The text of each Python module that is not a test, by its dotted name."""
    files = [*root.glob("*.py"), *root.glob("src/**/*.py"), *root.glob("scripts/**/*.py")]
    names = {path: path.relative_to(root).with_suffix("") for path in files}
    return {".".join(name.parts).removesuffix(".__init__"): path.read_text("utf-8") for path, name in names.items()}


def imported(name: str, text: str, modules: Iterable[str]) -> set[str]:
    """Those of `modules` that the module `name` imports, wherever in its text, by statement or as a string."""
    modules = set(modules)

    def mentioned(tree: ast.AST) -> Iterator[str]:
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                package = name.split(".")[: -node.level] if node.level else []
                origin = ".".join([*package, *([node.module] if node.module else [])])
                yield from (f"{origin}.{alias.name}" for alias in node.names)
                yield origin
            elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module":
                yield from (word.value for word in node.args if isinstance(word, ast.Constant))

    return {found for found in mentioned(ast.parse(text)) if found in modules} - {name}


def module_graph(texts: dict[str, str]) -> dict[str, set[str]]:
    """What each module imports. The package of a module that is imported runs too, and is no arrow of its own."""
    graph = {name: imported(name, text, texts) for name, text in texts.items()}
    return {name: {m for m in found if not any(n.startswith(f"{m}.") for n in found)} for name, found in graph.items()}


def package_of(module: str) -> str:
    """`training` for src.training.step; what is not below src is a command."""
    parts = module.split(".")
    return parts[1] if parts[0] == "src" and len(parts) > 1 else "src" if module == "src" else COMMANDS


def package_graph(modules: dict[str, set[str]]) -> dict[str, set[str]]:
    """What each package imports of the others."""
    graph: dict[str, set[str]] = {}
    for name, found in modules.items():
        package = package_of(name)
        graph.setdefault(package, set()).update({package_of(other) for other in found} - {package})
    graph.pop("src", None)  # src/__init__.py sets an environment variable
    return graph


def circle(graph: dict[str, set[str]]) -> list[str]:
    """The nodes of one circle, the first again at the end, or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def upward(graph: dict[str, set[str]]) -> list[str]:
    """The arrows that do not lead to a lower layer, and the packages that have no layer."""
    unknown = sorted(set(graph) - set(HEIGHT))
    return unknown + [
        f"{package} --> {other}"
        for package, others in sorted(graph.items())
        for other in sorted(others)
        if package in HEIGHT and HEIGHT.get(other, len(LAYERS)) >= HEIGHT[package]
    ]


@functools.cache
def project_modules() -> dict[str, set[str]]:
    """The graph of this project's modules."""
    return module_graph(sources())


def project() -> dict[str, set[str]]:
    """The graph of this project's packages."""
    return package_graph(project_modules())


def test_no_module_imports_itself_by_way_of_others():
    assert circle(project_modules()) == []


def test_no_package_imports_itself_by_way_of_others():
    assert circle(project()) == []


def test_every_import_leads_down():
    assert upward(project()) == []


def test_the_diagram_draws_the_imports():
    """Of utils, which all may use, none is drawn, and of the commands, which use all, those that nobody else makes."""
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    (diagram,) = re.findall(r"```mermaid\n(.*?)```", page, re.DOTALL)
    drawn = {package: set() for package in HEIGHT}
    for package, others in ARROW.findall(diagram):
        drawn[package] |= set(others.split(" & "))
    found = {package: others - {"utils"} for package, others in project().items()}
    used_by_packages = set().union(*(others for package, others in found.items() if package != COMMANDS))
    assert found[COMMANDS] == set(HEIGHT) - {COMMANDS, "utils", "demo"}  # which is a program of its own
    assert drawn == {package: found[package] for package in HEIGHT} | {COMMANDS: found[COMMANDS] - used_by_packages}


def test_every_file_that_the_page_names_is_there():
    """And every function and class: what is in backquotes occurs in the code."""
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    named = set(re.findall(r"`([\w./]+)`", page))
    code = "\n".join([*sources(), *sources().values()])
    folders = ("src", "scripts", "tests", "docs", "ascend310_infer", "engine")
    files = [*ROOT.glob("*.*"), *(ROOT / folder for folder in folders)]
    files += [path for folder in folders for path in (ROOT / folder).rglob("*")]
    endings = tuple(f"/{path.relative_to(ROOT)}" for path in files)
    lost = {
        name
        for name in named
        if not any(ending.endswith(f"/{name}") for ending in endings)
        and not all(re.search(rf"\b{part}\b", code) for part in name.split("."))
    }
    assert len(named) > 50 and lost == set()


def test_only_commands_and_the_launcher_read_the_configuration():
    graph = project_modules()
    readers = {package_of(name) for name, found in graph.items() if "src.model_utils.config" in found}
    assert readers == {COMMANDS, "launch"}


GOOD = {
    "src.utils.files": "import os",
    "src.network.fused": "from src.utils.files import x",
    "src.training.step": "from src.network import fused",
    "src.training.loop": "from src.training.step import TrainStep",
    "train": "from src.training.loop import run",
}


@pytest.mark.parametrize(
    ("module", "line", "circles", "arrows"),
    [
        ("src.utils.files", "from src.training.step import TrainStep", True, ["utils --> training"]),
        ("src.utils.files", "def f():\n    import src.training.step as s", True, ["utils --> training"]),
        ("src.utils.files", "if TYPE_CHECKING:\n    from src.training import step", True, ["utils --> training"]),
        ("src.utils.files", "importlib.import_module('src.network.fused')", True, ["utils --> network"]),
        ("src.utils.files", "from ..network import fused", True, ["utils --> network"]),
        ("src.utils.files", "import train", True, ["utils --> commands"]),
        ("src.training.step", "from src.training.loop import run", True, []),
        ("src.network.other", "from src.optimizers.sgd import SGD", False, ["network --> optimizers"]),
        ("src.novel.thing", "from src.utils.files import x", False, ["novel"]),
    ],
)  # fmt: skip
def test_these_tests_notice(module, line, circles, arrows):
    texts = {"src.optimizers.sgd": "", **GOOD}
    assert (circle(module_graph(texts)), upward(package_graph(module_graph(texts)))) == ([], [])
    texts[module] = f"{texts.get(module, '')}\n{line}"
    assert bool(circle(module_graph(texts))) is circles
    assert upward(package_graph(module_graph(texts))) == arrows


def test_no_two_test_files_have_one_name():
    """pytest imports a test file by its name alone and refuses the second of a name."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []
