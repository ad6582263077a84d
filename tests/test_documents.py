"""The documents agree with each other, in both languages, and with what they point to."""

import ast
import csv
import re
from pathlib import PurePosixPath

import pytest
from commands import ROOT
from documents import FOR_DEVELOPERS, PAGES, PAIRS, anchors, blocks, commands, links, prose, sections, text_of

MOST_LINES = {"README.md": 140, "README_CN.md": 140, "docs/scaling.md": 250}
MADE = ("docs/configuration.md", "docs/zh/configuration.md")  # as long as the schema
USER_PAGES = (
    *(
        "benchmark",
        "checkpoints",
        "configuration",
        "cpp",
        "data",
        "devices",
        "distributed",
        "engine",
        "evaluation",
        "export",
    ),
    *("modelarts", "own_pictures", "prediction", "recipes", "results", "training", "troubleshooting", "weights"),
)
# MindSpore's own Chinese documents say 梯度累加, 动态组网, 预热, 训练配置, 断点续训. One word is for one thing:
# 选项 a flag and 参数 a weight, 逐比特 bit for bit; 稠密层 and 密集层 are nn.Dense.
NOT_SAID = ("梯度累积", "自行组网", "热身", "配方", "(?<!断点)续训", "逐位", "稠密层", "密集层", "命令行参数")


def resolved(document: str, link: str) -> tuple[str, str]:
    """The file and anchor that a link in a document names, seen from the top of the repository."""
    path, _, anchor = link.partition("#")
    parts = []
    for part in (PurePosixPath(document).parent / path).parts if path else PurePosixPath(document).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts), anchor


def test_these_pages_are_there_in_both_languages():
    assert set(PAIRS) >= {f"docs/{name}.md" for name in USER_PAGES} | {"README.md", "ascend310_infer/README.md"}
    assert {path.name for path in (ROOT / "docs/zh").glob("*.md")} == {f"{name}.md" for name in USER_PAGES}


@pytest.mark.parametrize("english, chinese", PAIRS.items())
def test_both_languages_show_the_same_commands_and_programs(english, chinese):
    assert [command.words() for command in commands(english)] == [command.words() for command in commands(chinese)]
    for language in ("python", "bibtex"):
        assert blocks(english, language) == blocks(chinese, language)
    # what stands on the right of a tree of files is a remark
    texts = [[re.sub(r"\s{2,}[^─]*$", "", line) for block in blocks(page, "text") for line in block.splitlines()]
             for page in (english, chinese)]  # fmt: skip
    assert texts[0] == texts[1]


@pytest.mark.parametrize("english, chinese", PAIRS.items())
def test_both_languages_have_the_same_sections_tables_and_links(english, chinese):
    chinese_of = {**PAIRS, **{page: page for page in PAGES if page not in PAIRS}}
    shapes = []
    for page in (english, chinese):
        found = sections(page)
        levels = [heading.split()[0] for heading, _ in found]
        rows = [[row.count("|") for row in re.findall(r"^\|.*$", text, re.MULTILINE)] for _, text in found]
        pictures = len(re.findall(r"^!\[.+\]\(", prose(page), re.MULTILINE))
        targets = [resolved(page, link)[0] for link in links(page)]
        targets = [target for target in targets if target not in (english, chinese)]  # each may link to the other
        shapes.append((levels, rows, pictures, targets))
    (levels, rows, pictures, targets), other = shapes
    translated = [chinese_of.get(target, target) for target in targets]
    assert (levels, rows, pictures, translated) == other


@pytest.mark.parametrize("english, chinese", PAIRS.items())
def test_both_languages_name_the_same_keys_files_and_numbers(english, chinese):
    for (title, text), (_, translated) in zip(sections(english), sections(chinese), strict=True):
        for pattern in (r"`[^`\n]+`", r"\d+(?:\.\d+)?(?= %| MB|x\d)"):
            found = sorted(set(re.findall(pattern, text))), sorted(set(re.findall(pattern, translated)))
            assert found[0] == found[1], f"{english}, {title}: {set(found[0]) ^ set(found[1])} is in one language only"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for link in links(page):
        target, anchor = resolved(page, link)
        assert (ROOT / target).is_file(), f"{page} links to {link}, which is not there"
        assert not anchor or anchor in anchors(target), f"{page} links to {link}, there is {sorted(anchors(target))}"


def test_every_page_is_reached_from_the_front_page():
    for front in ("README.md", "README_CN.md"):
        reached, new = set(), {front}
        while new:
            reached |= new
            targets = {resolved(page, link)[0] for page in new for link in links(page)}
            new = {target for target in targets if target.endswith(".md")} - reached
        pages = list(PAIRS) if front == "README.md" else list(PAIRS.values())
        assert {*pages, *FOR_DEVELOPERS} <= reached


@pytest.mark.parametrize("page", PAGES)
def test_no_page_is_long(page):
    assert page in MADE or len(text_of(page).splitlines()) <= MOST_LINES.get(page, 130)


@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_left_to_be_filled_in(page):
    assert re.findall(r"@@.*?@@|TODO|FIXME", text_of(page)) == []


@pytest.mark.parametrize("page", [*PAIRS.values(), "docs/zh/keys.yaml"])
def test_chinese_words_are_those_of_mindspore(page):
    said = [(word, line) for word in NOT_SAID for line in text_of(page).splitlines() if re.search(word, line)]
    assert said == []


def test_the_front_page_tells_the_benchmark():
    with (ROOT / "docs/benchmark/epyc_zen5/benchmark.csv").open(encoding="utf-8") as file:
        rows = {(row["task"], row["variant"]): row for row in csv.DictReader(file)}

    def values(task: str, column: str, variants: str) -> list[float]:
        return [float(row[column]) for (of, name), row in rows.items() if of == task and re.match(variants, name)]

    def digits(value: float) -> str:
        return f"{value:#.3g}".rstrip(".") if value < 1000 else f"{value:.0f}"

    def ratio(ours: float, other: float) -> str:
        return f"{ours / other:.1f}" if ours > other else f"{ours / other:.2f}"

    def expected(task: str, column: str) -> list[str]:
        ours = "engine" if "inference" in task else "ours"
        (bf16,), (fp32,) = values(task, column, f"{ours}-bf16"), values(task, column, f"{ours}-fp32")
        torch = values(task, column, "torch-")
        best = max(torch) if column == "images_per_second" else min(torch)
        onnx = values(task, column, "onnxruntime")
        cells = [f"**{digits(bf16)}**", digits(fp32), digits(best), digits(onnx[0]) if onnx else "-"]
        if column == "peak_memory_mb":
            cells = [f"**{bf16:.0f}**", f"{fp32:.0f}", f"{best:.0f}", "-"]
        return [*cells, ratio(bf16, best), ratio(fp32, onnx[0]) if onnx else "-"]

    (table,) = [text for title, text in sections("README.md") if title == "## Speed"]
    shown = [[cell.strip() for cell in row.strip("|").split("|")][1:] for row in re.findall(r"^\|.*", table, re.M)[2:]]
    tasks = [f"densenet{n}-{work}" for work in ("training", "inference-32") for n in (121, 100)]
    assert shown == [
        *(expected(task, "images_per_second") for task in tasks),
        expected("densenet121-training", "peak_memory_mb"),
    ]
    claim = rows["densenet121-training", "ours-bf16"]
    assert f"{float(claim['images_per_second']):.1f} images/s" in text_of("README.md").split("```")[0]
    assert f"{float(claim['ratio']):.1f} times as fast as it comes" in text_of("README.md").split("```")[0]


def messages_in_the_code() -> str:
    """Every text in the code, one a line, with a blank for what is filled in."""
    texts = []
    for path in [*ROOT.glob("*.py"), *ROOT.glob("src/**/*.py"), *ROOT.glob("scripts/*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
                texts.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(re.sub(r"%[sdg]|%\.\df", "\0", node.value))
    return "\n".join(texts)


def test_troubleshooting_names_messages_that_exist():
    code, checked = messages_in_the_code(), 0
    for title, text in sections("docs/troubleshooting.md")[:-1]:  # the last are of other programs
        for cell in re.findall(r"^\| (.*?) \| ", text, re.MULTILINE):
            for message in re.findall(r"`([^`]+)`", cell):
                for part in filter(None, (part.strip() for part in re.split(r"\.\.\.", message))):
                    assert part.strip(" ;,:") in code, f"{title}: no message has {part!r}"
                    checked += 1
    assert checked > 40
