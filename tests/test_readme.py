"""Every command that the documents show is one that the code accepts, and both READMEs say the same."""

import ast
import importlib
import re
import shlex
import subprocess
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from commands import ROOT

from src.model_utils.config import parse
from src.network.densenet import DenseNet, architecture
from src.ops import build
from src.schema.options import BY_NAME, COMMANDS
from src.utils.checkpoint import save_checkpoint
from src.utils.errors import ReportedError

READMES = ("README.md", "README_CN.md")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"([A-Z_]+=\S+ )*(python|bash|pip) ")
_ASSIGNMENT = re.compile(r"[A-Z_]+=")
PARSED_BY = {f"{name}.py": name for name in COMMANDS} | {"scripts/train_pytorch.py": "train"}
_LEAST = {"README.md": 25, "README_CN.md": 25, "train.py": 3, "eval.py": 3, "export.py": 3}  # elsewhere 1


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


def blocks(document: str, language: str) -> list[str]:
    """The fenced blocks in `language` of a Markdown file."""
    return [text for found, text in _FENCE.findall((ROOT / document).read_text("utf-8")) if found == language]


def joined(text: str) -> list[str]:
    """The lines of `text` that are not empty, continued ones (ending in a backslash) put together."""
    return [line.strip() for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def shown_lines(document: str) -> list[str]:
    """The lines among which the commands of a document are; in Markdown all of them are commands."""
    path = ROOT / document
    text = path.read_text("utf-8")
    if path.suffix == ".md":
        return [line for block in blocks(document, "bash") for line in joined(block)]
    if path.suffix == ".py":
        lines = joined(ast.get_docstring(ast.parse(text)))
    else:  # a script or YAML file: the comment at its top
        header = re.match(r"(#.*\n)+", text).group()
        lines = joined(re.sub(r"^# ?", "", header, flags=re.MULTILINE))
    commands = [line for line in lines if _COMMAND.match(line)]
    return [re.split(r"\s{3,}", line)[0] for line in commands]  # an explanation may stand on the right


def commands(document: str) -> list[Command]:
    return [Command(document, line) for line in shown_lines(document)]


def documents() -> list[str]:
    found = [
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("scripts/*.sh"),
        *ROOT.glob("scripts/*.py"),
        *ROOT.glob("*_config.yaml"),
    ]
    names = [str(path.relative_to(ROOT)) for path in sorted(found) if path.name != "common.sh"]
    tools = ["postprocess.py", "src/deploy/convert_weights.py", "src/deploy/write_labels.py", "src/ops/build.py"]
    return [*READMES, *(f"{name}.py" for name in COMMANDS), *tools, *names]


def usage_words(text: str) -> list[str]:
    """A usage line's words, an optional part `[FLAG VALUE]...` being one."""
    return re.findall(r"\[.*?\](?:\.\.\.)?|\S+", text)


def usage_of(script: Path) -> list[str]:
    """The words after `bash scripts/NAME` in the usage line that a script prints."""
    found = re.search(r'"usage: bash scripts/(\S+) (.*?)"', script.read_text("utf-8"))
    assert found and found[1] == script.name, f"{script.name} prints no usage line of its own"
    return usage_words(found[2])


def check_script(command: Command) -> None:
    """`bash scripts/NAME.sh ...`"""
    script, arguments = ROOT / command.words()[1], command.words()[2:]
    assert script.is_file(), f"{command}: there is no such script"
    subprocess.run(["bash", "-n", script], check=True)
    is_usage = "[" in command.line
    if script.name in ("run_train_cpu.sh", "run_eval_cpu.sh") or script.name.startswith("run_distribute_"):
        usage = usage_of(script)
        if is_usage or "NET" in arguments:
            assert usage_words(command.line)[2:] == usage, f"{command}: the usage is {usage}"
        else:
            before = usage.index("NET")  # DEVICE_NUM and which devices, of several
            assert all(number.isdecimal() for number in arguments[:before][:1]), f"{command}: the usage is {usage}"
            kind = "train" if "train" in script.name else "eval"
            check_training_script(command, kind, usage[before:], arguments[before:])
    elif script.name == "run_onnx_eval.sh":
        check_onnx_script(command, usage_of(script), arguments)
    elif script.name == "run_infer_310.sh":
        assert len(arguments) == len(usage_of(script)), f"{command}: the usage is {usage_of(script)}"
    elif script.name == "fetch_lite.sh":
        assert not arguments, f"{command}: it takes no arguments"
    elif script.name == "quickstart.sh":
        parse("train", ["--dataset", "digits", *([] if is_usage else arguments)])
    else:
        assert script.name == "test.sh", f"{command}: say here how this script is to be checked"


def check_training_script(command: Command, kind: str, usage: list[str], arguments: list[str]) -> None:
    """The arguments by position are as many as the usage says; with the flags they make a command of `kind`."""
    count = next((i for i, word in enumerate(arguments) if word.startswith("--")), len(arguments))
    required = [word for word in usage if not word.startswith("[")]
    optional = [word for word in usage if word.startswith("[") and "FLAG" not in word]
    assert len(required) <= count <= len(required) + len(optional), f"{command}: the usage is {usage}"
    net, dataset, data = arguments[:3]
    checkpoint = ["--ckpt_files" if kind == "eval" else "--train_pretrained", arguments[3]] if count > 3 else []
    flags = [f"--net={net}", f"--dataset={dataset}", f"--{kind}_data_dir={data}", *checkpoint, *arguments[count:]]
    assert parse(kind, flags).ignored == (), f"{command}: the command does not use all of these flags"


def check_onnx_script(command: Command, usage: list[str], arguments: list[str]) -> None:
    """ONNX DATA DEVICE, then perhaps NET DATASET."""
    if "ONNX" in arguments:
        assert usage_words(command.line)[2:] == usage, f"{command}: the usage is {usage}"
        return
    model, data, device, *named = arguments
    flags = [f"--ckpt_files={model}", f"--eval_data_dir={data}", f"--device_target={device}"]
    flags += [f"--{key}={value}" for key, value in zip(("net", "dataset"), named, strict=bool(named))]
    parse("eval_onnx", flags)


def check_python(command: Command) -> None:
    """`python train.py ...`, `python scripts/NAME.py ...`, `python -m src.PACKAGE.NAME ...`"""
    words = command.words()
    if words[1] == "-m":
        check_tool(command, words[2], words[3:])
        return
    assert (ROOT / words[1]).is_file(), command
    if words[1] in PARSED_BY:
        kind = PARSED_BY[words[1]]
        if words[2:] == ["--help"]:
            with pytest.raises(SystemExit) as stopped:
                parse(kind, words[2:])
            assert stopped.value.code == 0
            return
        assert parse(kind, words[2:]).ignored == (), f"{command}: the command does not use all of these flags"
    elif words[1] in ("postprocess.py", "scripts/benchmark_inference.py"):
        check_tool(command, words[1].removesuffix(".py").replace("/", "."), words[2:])
    elif words[1] in ("scripts/hccl_rank_table.py", "scripts/benchmark.py"):
        importlib.import_module(words[1].removesuffix(".py").replace("/", ".")).parse(words[2:])
    elif words[1] == "scripts/scaling_table.py":
        assert re.fullmatch(r"(\S+\.png)?", " ".join(words[2:])), f"{command}: it takes one PNG at most"
    else:
        writers = ("scripts/write_mnist5k.py", "scripts/write_photos.py")
        assert words[1] in writers and len(words) == 3, f"{command}: say here how it is checked"


def check_tool(command: Command, module: str, arguments: list[str]) -> None:
    """The tool takes the arguments; what it then complains of are the files, which are not there."""
    if module == "src.ops.build":  # it needs none
        build.main(arguments)
        return
    with pytest.raises(ReportedError) as error:
        importlib.import_module(module).main(arguments)
    assert not re.search("usage", str(error.value)), f"{command}: {error.value}"


def check_pip(command: Command) -> None:
    """`pip install PACKAGE...` or `pip install -r FILE`"""
    words = command.words()
    assert words[1] == "install" and len(words) > 2, command
    if words[2] == "-r":
        assert (ROOT / words[3]).is_file() and len(words) == 4, command
    else:
        assert all(re.fullmatch(r"[a-z0-9-]+", word) for word in words[2:]), command


CHECKS = {"bash": check_script, "python": check_python, "pip": check_pip}


@pytest.fixture
def run_folder(tmp_path, monkeypatch):
    """A working directory with the one file that a shown command reads while it is parsed."""
    (tmp_path / "output/RUN").mkdir(parents=True)
    parse("train", ["--net", "densenet100", "--dataset", "digits"]).to_yaml(tmp_path / "output/RUN/config.yaml")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("run_folder")
@pytest.mark.parametrize("document", documents())
def test_each_command_is_accepted(document):
    found = commands(document)
    assert len(found) >= _LEAST.get(document, 1), f"of {document} only {[c.line for c in found]} were found"
    for command in found:
        words = command.words()
        assert words and words[0] in CHECKS, f"{command}: neither of {', '.join(CHECKS)}"
        CHECKS[words[0]](command)


@pytest.mark.usefixtures("run_folder")
@pytest.mark.parametrize(
    "line, message",
    [
        ("python train.py --learning_rate 1 --dataset digits", "learning_rate"),
        ("python eval.py --ckpt_files best.ckpt --lr 0.1", "does not use"),
        ("python trian.py --net densenet100", "trian.py"),
        ("python -m src.deploy.convert_weights a.pth b.ckpt --classes c", "--help shows the usage"),
        ("bash scripts/run_eval_cpu.sh densenet100 digits bundled", "the usage is"),
        ("bash scripts/run_train_cpu.sh densenet99 digits bundled", "densenet99"),
        ("bash scripts/run_train_cpu.sh NET DATASET DATA [FLAG VALUE]...", "the usage is"),
        ("bash scripts/run_distribute_train_cpu.sh densenet100 digits bundled", "the usage is"),
        ("bash scripts/run_distribute_eval.sh 8 none densenet121 imagenet val", "the usage is"),
        ("bash scripts/absent.sh", "absent"),
        ("pip install -r absent.txt", "absent"),
    ],
)
def test_a_wrong_command_would_be_found(line, message):
    command = Command("a document", line)
    with pytest.raises(Exception, match=message):
        CHECKS[command.words()[0]](command)


def test_both_readmes_show_the_same_commands_in_the_same_order():
    english, chinese = ([command.words() for command in commands(readme)] for readme in READMES)
    assert english == chinese
    assert blocks("README.md", "python") == blocks("README_CN.md", "python")
    assert blocks("README.md", "text") == blocks("README_CN.md", "text")


def test_both_readmes_have_the_same_sections_tables_and_links():
    shapes = []
    for readme in READMES:
        text = _FENCE.sub("", (ROOT / readme).read_text("utf-8"))
        headings = re.findall(r"^(#+) ", text, re.MULTILINE)
        rows = [
            len(re.findall(r"^\|", section, re.MULTILINE)) for section in re.split(r"^#+ ", text, flags=re.MULTILINE)
        ]
        links = [link.replace("_CN", "") for link in re.findall(r"\]\((?!http)(.*?)\)", text)]
        markers = re.findall(r"@@\w+@@", text)
        shapes.append((headings, rows, links, markers))
    assert shapes[0] == shapes[1]
    assert len(shapes[0][0]) > 10


@pytest.mark.parametrize("readme", READMES)
def test_links_and_pictures_are_there(readme):
    links = re.findall(r"\]\((?!http)(.*?)\)", (ROOT / readme).read_text("utf-8"))
    assert len(links) >= 5
    assert [link for link in links if not (ROOT / link).is_file()] == []


@pytest.mark.parametrize("readme", READMES)
def test_no_number_is_left_to_be_filled_in(readme):
    assert re.findall(r"@@.*?@@", (ROOT / readme).read_text("utf-8")) == []


def test_the_table_of_keys_tells_the_real_defaults():
    text = (ROOT / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| (`.*?`) \|(.*?)\|(.*?)\|.*\|$", text, re.MULTILINE)
    checked = set()
    for names, larger, smaller in rows:
        keys = re.findall(r"\w+", names)
        if keys[0] in BY_NAME:
            for net, cell in (("densenet121", larger), ("densenet100", smaller)):
                config = parse("train", ["--net", net, "--resume", "auto"])  # a resumed run need not name its data
                assert cell.replace("`", "").strip() == ", ".join(shown(getattr(config, key)) for key in keys), names
            checked.update(keys)
    assert len(checked) >= 35


def shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "empty"
    return f"{value:g}" if isinstance(value, float) else str(value)


def test_the_python_snippet_runs(tmp_path, monkeypatch, capsys):
    arch = architecture("densenet100", 2, block_config=(1,), growth_rate=2, stem_features=2)
    network = DenseNet(arch)
    for parameter in network.get_parameters():
        parameter.set_data(ms.Tensor(np.full(parameter.shape, 0.25, np.float32)))
    metadata = {"architecture": arch.to_dict(), "class_names": ["cat", "dog"], "recipe": {"lr": 0.125}}
    (tmp_path / "output/RUN").mkdir(parents=True)
    save_checkpoint(tmp_path / "output/RUN/best.ckpt", network.get_parameters(), metadata)
    monkeypatch.chdir(tmp_path)
    (snippet,) = blocks("README.md", "python")
    names = {}
    exec(snippet, names)  # noqa: S102 - our own document
    assert capsys.readouterr().out == "['cat', 'dog'] 0.125\n"
    assert all((p.asnumpy() == 0.25).all() for p in names["network"].get_parameters())
    assert not names["network"].training
