"""docs/own_pictures.md from top to bottom: each command and the program, on its pictures, with a small network."""

import csv
import re
import shlex
from pathlib import Path

import pytest
from documents import Command, blocks, commands

import eval as evaluate
import export
import predict
import train
from scripts import write_photos

PAGE = "docs/own_pictures.md"
MAINS = {
    "scripts/write_photos.py": write_photos.main,
    "train.py": train.main,
    "eval.py": evaluate.main,
    "export.py": export.main,
    "predict.py": predict.main,
}
SMALL = shlex.split(
    "--image_size 32 --block_config 1,1 --growth_rate 4 --stem_features 8 --max_epoch 2 --per_batch_size 64"
)


def run(command: Command) -> None:
    """As a shell would in the current folder, patterns expanded; training is made small."""
    python, script, *arguments = command.words()
    assert python == "python"
    for i, word in enumerate(arguments):
        if "*" in word:
            (arguments[i],) = map(str, Path().glob(word))
    MAINS[script]([*arguments, *(SMALL if script == "train.py" else ())])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where all commands of the page have been run, in their order."""
    folder = tmp_path_factory.mktemp("reader's own")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for command in commands(PAGE)[:-1]:
            run(command)
    return folder


@pytest.fixture
def answers(folder, monkeypatch):
    """The rows of answers.csv by picture, in the folder of the page."""
    monkeypatch.chdir(folder)
    with Path("answers.csv").open(encoding="utf-8") as file:
        return {"/".join(Path(row["image"]).parts[-4:]): row for row in csv.DictReader(file)}


@pytest.mark.slow
def test_what_the_page_speaks_of_is_there(folder, answers):
    assert len(answers) == 72
    assert {row["label"] for row in answers.values()} == {"china", "flower"}
    for pattern in (
        "runs/*/preview.png",
        "runs/*/curves.png",
        "evaluations/*/confusion_matrix.png",
        "photos.onnx.json",
    ):
        assert len(list(folder.glob(pattern))) == 1


@pytest.mark.slow
def test_the_exported_model_answers_as_the_page_says(answers, capsys):
    capsys.readouterr()
    run(commands(PAGE)[-1])
    lines = re.findall(r"^(.*): (\w+) (\S+) %", capsys.readouterr().out, re.MULTILINE)
    assert len(lines) == 36
    for picture, name, probability in lines:
        row = answers[f"photos/val/china/{Path(picture).name}"]
        assert name == row["top1"]
        assert float(probability) == pytest.approx(100 * float(row["probability1"]), abs=0.02)


def test_the_program_gives_the_same_answers(answers, capsys):
    (program,) = blocks(PAGE, "python")
    lines = [line for line in program.splitlines() if line and not re.match(r"import|from", line)]
    assert len(lines) == 10
    shown = re.search(r'Image.open\("(.*?)"\)', program)[1]
    for picture in [shown, *list(answers)[3::9]]:
        capsys.readouterr()
        exec(program.replace(shown, picture), {})  # noqa: S102 - our own document
        name, probability = capsys.readouterr().out.split()
        assert name == answers[picture]["top1"]
        assert float(probability.rstrip("%")) == pytest.approx(100 * float(answers[picture]["probability1"]), abs=1)
