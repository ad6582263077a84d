"""Every command that the documents show is one that the code accepts."""

import ast
import importlib
import re
import subprocess
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from commands import ROOT
from documents import Command, blocks, commands, documents

from scripts.device_test import __main__ as device_test
from src.doctor import __main__ as doctor
from src.model_utils.config import parse
from src.network.densenet import DenseNet, architecture
from src.ops import build
from src.schema.options import COMMANDS
from src.utils.checkpoint import save_checkpoint
from src.utils.errors import ReportedError

_PATHS = {  # scripts whose arguments are paths alone: how many
    "scripts/write_mnist5k.py": (1, 2),
    "scripts/write_photos.py": (1, 2),
    "tests/fuzz/kills.py": (1, 2),
    "scripts/write_patches.py": (2, 3),
    "scripts/write_configuration_docs.py": (0,),
    "scripts/lock_requirements.py": (0,),
}
PARSED_BY = {f"{name}.py": name for name in COMMANDS} | {"scripts/train_pytorch.py": "train"}
_LEAST = {"README.md": 15, "docs/distributed.md": 10, "train.py": 3, "eval.py": 3, "export.py": 3}  # elsewhere 1


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
    elif script.name in ("convert_om.sh", "convert_lite.sh"):
        usage = usage_of(script)
        required = [word for word in usage if not word.startswith("[")]
        assert usage_words(command.line)[2:] == usage or len(required) <= len(arguments) <= len(usage), command
    elif script.name == "test_device.sh":
        if not is_usage:
            device_test.parse(arguments)
    elif script.name == "fetch_lite.sh":
        assert not arguments, f"{command}: it takes no arguments"
    elif script.name == "build_engine.sh":
        assert usage_words(command.line)[2:] == usage_of(script) or len(arguments) <= 1, command
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
    if words[1] == "-m":  # in a usage line [parts] can be left out
        for line in (re.sub(r"\[.*?\]", "", command.line), re.sub(r"[\[\]]", "", command.line)):
            words = Command(command.document, line).words()
            check_tool(command, words[2], words[3:])
        return
    if words[1] == "-c":
        ast.parse(words[2])
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
    elif words[1] in ("postprocess.py", "scripts/benchmark_inference.py", "scripts/write_mindrecord.py"):
        check_tool(command, words[1].removesuffix(".py").replace("/", "."), words[2:])
    elif words[1] in (
        "scripts/hccl_rank_table.py",
        "scripts/benchmark.py",
        "scripts/benchmark_reading.py",
        "scripts/mutate.py",
    ):
        importlib.import_module(words[1].removesuffix(".py").replace("/", ".")).parse(words[2:])
    elif words[1] == "scripts/ablation.py":
        *_, flags = importlib.import_module("scripts.ablation").parse(words[2:])
        assert parse("train", flags).ignored == (), command
    elif words[1] == "scripts/scaling_table.py":
        assert re.fullmatch(r"(\S+\.png)?", " ".join(words[2:])), f"{command}: it takes one PNG at most"
    else:
        count = _PATHS.get(words[1])
        assert count is not None, f"{command}: say here how it is checked"
        assert len(words) - 2 in count, f"{command}: it takes other arguments"


def nothing_is_fetched(*_: object) -> None:
    raise ReportedError("documents are read without a network")


def check_tool(command: Command, module: str, arguments: list[str]) -> None:
    """The tool takes the arguments; what it then complains of are the files, which are not there."""
    if module == "src.ops.build":  # it needs none
        build.main(arguments)
        return
    if module == "src.doctor":  # it looks at the whole machine, which its own tests replace
        doctor.parse(arguments)
        return
    found = importlib.import_module(module)
    found = found if hasattr(found, "main") else importlib.import_module(f"{module}.__main__")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(ReportedError) as error:
        if module == "src.deploy.convert_weights":
            patch.setattr(found, "fetch", nothing_is_fetched)
        found.main(arguments)
    assert not re.search("usage", str(error.value)), f"{command}: {error.value}"


def check_pip(command: Command) -> None:
    """`pip install PACKAGE...` or `pip install -r FILE`"""
    words = command.words()
    assert words[1] == "install" and len(words) > 2, command
    if words[2] == "-r":
        assert (ROOT / words[3]).is_file() and len(words) == 4, command
    else:
        assert all(re.fullmatch(r"[a-z0-9-]+", word) for word in words[2:]), command


def check_source(command: Command) -> None:
    """`source .venv/bin/activate`: the environment that scripts/common.sh makes."""
    assert command.words() == ["source", ".venv/bin/activate"], command
    assert '"$python" -m venv "$ROOT/.venv"' in (ROOT / "scripts/common.sh").read_text("utf-8")


CHECKS = {"bash": check_script, "python": check_python, "pip": check_pip, "source": check_source}


@pytest.fixture
def run_folder(tmp_path, monkeypatch):
    """A working directory with the files that shown commands read while they are parsed."""
    (tmp_path / "output/RUN").mkdir(parents=True)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    parse("train", ["--net", "densenet100", "--dataset", "digits"]).to_yaml(tmp_path / "output/RUN/config.yaml")
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
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


def test_the_python_snippet_runs(tmp_path, monkeypatch, capsys):
    arch = architecture("densenet100", 2, block_config=(1,), growth_rate=2, stem_features=2)
    network = DenseNet(arch)
    for parameter in network.get_parameters():
        parameter.set_data(ms.Tensor(np.full(parameter.shape, 0.25, np.float32)))
    metadata = {"architecture": arch.to_dict(), "class_names": ["cat", "dog"], "recipe": {"lr": 0.125}}
    (tmp_path / "output/RUN").mkdir(parents=True)
    save_checkpoint(tmp_path / "output/RUN/best.ckpt", network.get_parameters(), metadata)
    monkeypatch.chdir(tmp_path)
    (snippet,) = blocks("docs/checkpoints.md", "python")
    names = {}
    exec(snippet, names)  # noqa: S102 - our own document
    assert capsys.readouterr().out == "['cat', 'dog'] 0.125\n"
    assert all((p.asnumpy() == 0.25).all() for p in names["network"].get_parameters())
    assert not names["network"].training
