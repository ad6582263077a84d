"""Runs side by side, and McNemar's test of two evaluations' answers."""

import csv
import shutil
from math import comb

import pytest
from PIL import Image

from src.training.compare import Run, as_text, differences, draw, main, read_run, results, write_page
from src.training.paired import mcnemar
from src.training.progress import COLUMNS
from src.utils.checkpoint_names import list_checkpoints
from src.utils.csv_text import csv_text
from src.utils.errors import ReportedError, UsageError


def row(epoch, **values):
    return {**dict.fromkeys(COLUMNS, ""), "epoch": epoch, "loss": 2.0 / epoch, **values}


EVALUATED = [row(1, top1=0.5, eval_loss=1.0), row(2, top1=0.75, eval_loss=0.5), row(3, top1=0.7, eval_loss=0.6)]
ONE = Run("one", {"lr": 0.1, "lr_epochs": [1, 2], "seed": 1, "save_ckpt_path": "a"}, EVALUATED, 3725.4)
OTHER = Run("<b>", {"lr": 0.2, "lr_epochs": [1, 2], "seed": 1, "save_ckpt_path": "b"}, [row(1)], float("nan"))


def test_what_they_reached():
    head, one, other = results([ONE, OTHER])
    assert dict(zip(head, one, strict=True)) == {
        "run": "one", "epochs": "3", "best": "top1 75.00 %", "in epoch": "2", "last": "70.00 %", "loss": "0.6667",
        "held-out loss": "0.6000", "training time": "1:02:05",
    }  # fmt: skip
    assert other == ["<b>", "1", "-", "-", "-", "2.0000", "-", "-"]
    assert results([Run("new", {}, [], float("nan"))])[1] == ["new", "0", "-", "-", "-", "-", "-", "-"]


def test_what_they_did_differently():
    """Neither what is the same nor where the results went."""
    assert differences([ONE, OTHER]) == [["key", "one", "<b>"], ["lr", "0.1", "0.2"]]
    assert differences([ONE, Run("three", {"lr": 0.1, "new": True}, [], 0.0)])[1:] == [
        ["lr_epochs", "1,2", "-"], ["seed", "1", "-"], ["new", "-", "True"],
    ]  # fmt: skip


def test_runs_that_were_evaluated_on_other_pictures_are_said_to_be(monkeypatch, capsys):
    runs = {name: Run(name, {}, EVALUATED, 1.0, held_out) for name, held_out in (("a", "9, 12ab"), ("b", "9, 34cd"))}
    assert differences(list(runs.values()))[1:] == [["held-out pictures", "9, 12ab", "9, 34cd"]]
    monkeypatch.setattr("src.training.compare.read_run", lambda path: runs[str(path)])
    main(["a", "b"])
    assert capsys.readouterr().out.endswith("different held-out pictures: their figures do not say which is better\n")
    main(["a", "a"])
    assert "held-out pictures" not in capsys.readouterr().out
    assert differences([runs["a"], Run("older", {}, EVALUATED, 1.0)])[1:] == []


def test_the_figure_of_several_labels():
    run = Run("many", {}, [row(1, auroc=0.6, eval_loss=1.0), row(2, auroc=0.9, eval_loss=0.4)], 1.0)
    assert results([run])[1][2:5] == ["auroc 90.00 %", "2", "90.00 %"]


def test_columns_are_under_each_other():
    assert as_text([["a", "bb"], ["ccc", "d"]]) == "a    bb\nccc  d"


def test_the_pictures_and_the_page(tmp_path):
    draw([ONE, OTHER], tmp_path / "curves.png")
    picture = Image.open(tmp_path / "curves.png")
    assert min(picture.size) > 300
    write_page([ONE, OTHER], [results([ONE, OTHER]), differences([ONE, OTHER])], tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "<b>" not in text
    assert '<th scope="row">&lt;b&gt;</th>' in text
    assert text.count("data:image/png;base64,") == 1
    assert "http" not in text
    assert [path.name for path in tmp_path.iterdir() if path.suffix not in (".png", ".html")] == []


def test_a_run_is_read_from_its_newest_checkpoint(trained_run, capsys):
    run = read_run(trained_run)
    rows = list(csv.DictReader((trained_run / "metrics.csv").open()))
    assert [str(one["top1"]) for one in run.rows] == [one["top1"] for one in rows]
    assert all(one["top1"] for one in rows)
    assert run.seconds == pytest.approx(sum(1442 / float(one["images_per_second"]) for one in rows), rel=1e-3)
    main([str(trained_run), str(list_checkpoints(trained_run)[-1])])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith(trained_run.name)
    assert len(lines) == 3  # there is no difference in the configuration


@pytest.mark.parametrize(("first", "second"), [(10, 2), (0, 0), (0, 6), (7, 7)])
def test_the_test_is_the_binomial_one(first, second):
    """Two-sided: twice the smaller tail, no more than 1."""
    rights = [(True, False)] * first + [(False, True)] * second + [(True, True)] * 3 + [(False, False)] * 2
    found = mcnemar(*zip(*rights, strict=True))
    assert (found.both, found.first_only, found.second_only, found.neither) == (3, first, second, 2)
    n = first + second
    tail = sum(comb(n, k) for k in range(min(first, second) + 1)) / 2**n
    assert found.p == pytest.approx(min(1, 2 * tail))


def write_answers(path, answers, labels="abab"):
    rows = [["image", "label", "top1", "probability1"]]
    rows += [[f"={i}.png", label, answer, "0.5"] for i, (label, answer) in enumerate(zip(labels, answers, strict=True))]
    path.write_text(csv_text(rows), "utf-8")
    return str(path)


def test_two_evaluations(tmp_path, capsys):
    one, other = write_answers(tmp_path / "one.csv", "abba"), write_answers(tmp_path / "other.csv", "bbab")
    main([one, other, "--output", str(tmp_path / "differ.csv")])
    said = capsys.readouterr().out
    assert f"{one}: 2 of 4 right, 50.00 %" in said
    assert "both right 1, only the first 1, only the second 2, neither 0" in said
    assert "p = 1: no difference that could not be luck" in said
    found = list(csv.reader((tmp_path / "differ.csv").open()))
    assert found == [
        ["image", "label", "one.csv", "other.csv"], ["'=0.png", "a", "a", "b"], ["'=2.png", "a", "b", "a"],
        ["'=3.png", "b", "a", "b"],
    ]  # fmt: skip


def test_a_real_difference_is_called_so(tmp_path, capsys):
    labels = "ab" * 20
    main([write_answers(tmp_path / "a.csv", labels, labels), write_answers(tmp_path / "b.csv", "b" * 40, labels)])
    assert "a difference at the level of 5 %" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,label,top1\n", "has no rows with the columns image, label, top1"),
        ("image,label\na,b\n", "has no rows with the columns"),
        ("image,label,top1\n=0.png,a,b\n", "are not of the same pictures and labels: 1 and 4"),
        ("image,label,top1\na.png,a|b,a\n", "has the label 'a|b' for a.png, expected one class a picture"),
        ('image,label,top1\n"a,b,c\n', "is no CSV file of eval.py --predictions"),
        ("\xff", "are not of the|is no CSV file|has no rows"),
    ],
)
def test_files_that_are_no_such_answers(tmp_path, text, message):
    (tmp_path / "odd.csv").write_text(text, "latin-1")
    with pytest.raises(ReportedError, match=message.replace("|", r"\|") if "a|b" in message else message):
        main([str(tmp_path / "odd.csv"), write_answers(tmp_path / "one.csv", "abba")])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a"], "expected two runs or more"),
        (["a.csv", "b"], "or two .csv files"),
        (["a.csv", "b.csv", "c.csv"], "or two .csv files"),
        (["a", "b", "--output", "page.pdf"], r"expected a file name that ends with \.png or \.html"),
        (["a.csv", "b.csv", "--output", "page.html"], r"expected a file name that ends with \.csv"),
        (["a", "b", "--output", "{there}.png"], "exists and is not overwritten"),
    ],
)
def test_wrong_usage(tmp_path, arguments, message):
    (tmp_path / "there.png").write_text("kept")
    with pytest.raises(UsageError, match=message):
        main([one.replace("{there}", str(tmp_path / "there")) for one in arguments])
    assert (tmp_path / "there.png").read_text() == "kept"


@pytest.mark.parametrize("text", ["epoch,loss\none,2\n", "loss\n1\n", "\xff"])
def test_a_table_that_train_py_did_not_write(trained_run, tmp_path, text):
    shutil.copy(list_checkpoints(trained_run)[0], tmp_path)
    (tmp_path / "metrics.csv").write_text(text, "latin-1")
    with pytest.raises(ReportedError, match=r"metrics\.csv is not what train\.py writes"):
        read_run(tmp_path)


def test_a_folder_without_checkpoints(tmp_path):
    with pytest.raises(ReportedError, match=r"holds no checkpoint of train\.py"):
        main([str(tmp_path), str(tmp_path)])
